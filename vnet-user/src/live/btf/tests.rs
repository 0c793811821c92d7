//! Small hand-made type information, damaged input, and the running kernel's.

use proptest::prelude::*;

use super::*;

/// Builds a blob from types as words and a string section.
fn blob(types: &[u32], strings: &str) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut out = Vec::new();
    let lengths = [u32::try_from(types.len()).unwrap(), u32::try_from(strings.len()).unwrap()];
    for word in [0xeb9f, 24, 0, lengths[0], lengths[0], lengths[1]] {
        out.extend_from_slice(&u32::to_le_bytes(word));
    }
    out.extend_from_slice(&types);
    out.extend_from_slice(strings.as_bytes());
    out
}

const STRINGS: &str = "\0int\0outer\0a\0flag\0inner\0late\0color\0RED\0GREEN\0";

fn at(name: &str) -> u32 {
    u32::try_from(STRINGS.find(&format!("\0{name}\0")).unwrap() + 1).unwrap()
}

/// `struct outer { int a; union { int late; }; int flag : 3 at bit 66; }` and `enum color { RED = 4, GREEN = 9 }`.
fn sample() -> Vec<u8> {
    let types = [
        &[at("int"), 1 << 24, 4, 32][..],
        &[0, 5 << 24 | 1, 4, at("late"), 1, 0],
        &[at("outer"), 1 << 31 | 4 << 24 | 3, 12, at("a"), 1, 0, 0, 2, 32, at("flag"), 1, 0x0300_0042],
        &[at("color"), 6 << 24 | 2, 4, at("RED"), 4, at("GREEN"), 9],
    ];
    blob(&types.concat(), STRINGS)
}

#[test]
fn members_are_found_through_anonymous_unions() {
    let btf = Btf::parse(&[&sample()]).unwrap();
    assert_eq!(btf.member("outer", "a").unwrap().byte(), 0);
    assert_eq!(btf.member("outer", "late").unwrap().byte(), 4);
    let flag = btf.member("outer", "flag").unwrap();
    assert_eq!((flag.byte(), flag.mask()), (8, Some(0b1_1100)));
}

#[test]
fn what_is_missing_is_named() {
    let btf = Btf::parse(&[&sample()]).unwrap();
    let member = btf.member("outer", "nothing").unwrap_err();
    assert_eq!(member.to_string(), "this kernel's struct outer has no field nothing");
    let structure = btf.member("other", "a").unwrap_err();
    assert_eq!(structure.to_string(), "this kernel's BTF has no struct other");
}

#[test]
fn enumerators_are_found_by_name() {
    let btf = Btf::parse(&[&sample()]).unwrap();
    assert_eq!(btf.enumerator("GREEN"), Some(9));
    assert_eq!(btf.enumerator("BLUE"), None);
    assert_eq!(btf.enumeration("color")[&4], "RED");
}

#[test]
fn two_structures_that_disagree_are_refused() {
    let extra = blob(&[at("outer"), 4 << 24 | 1, 8, at("a"), 1, 32], "");
    let btf = Btf::parse(&[&sample(), &extra]).unwrap();
    assert!(matches!(btf.member("outer", "a"), Err(BtfError::Ambiguous(..))));
    assert_eq!(btf.member("outer", "late").unwrap().byte(), 4);
}

#[test]
fn the_running_kernel_is_read() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        println!("skipped: this kernel has no BTF (/sys/kernel/btf/vmlinux)");
        return;
    };
    let btf = Btf::parse(&[&bytes]).unwrap();
    assert_eq!(btf.member("list_head", "prev").unwrap().byte(), 8);
    assert_eq!(btf.tracepoint_args("net_dev_start_xmit").unwrap(), 2);
    assert!(btf.member("sk_buff", "queue_mapping").unwrap().byte() > 0);
}

proptest! {
    #[test]
    fn damaged_input_never_panics(cut in 0usize..400, flips in proptest::collection::vec((0usize..400, any::<u8>()), 0..8)) {
        let mut bytes = sample();
        for (index, value) in flips {
            let len = bytes.len();
            bytes[index % len] = value;
        }
        bytes.truncate(cut);
        if let Ok(btf) = Btf::parse(&[&bytes]) {
            let _ = btf.member("outer", "late");
            let _ = btf.enumerator("GREEN");
            let _ = btf.tracepoint_args("x");
        }
    }
}
