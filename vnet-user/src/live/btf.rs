//! The running kernel's type information: field offsets, enum values, tracepoint prototypes.
//!
//! A reader of our own because aya's gives neither members nor split (module) BTF. The input is checked throughout:
//! it comes from the kernel, but also from files. Format: Documentation/bpf/btf.rst.

use std::{collections::BTreeMap, fmt};

/// Why a lookup failed; says what is missing, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes are not BTF.
    #[error("not BTF: {0}")]
    Format(&'static str),
    /// No type of that name.
    #[error("this kernel's BTF has no {0} {1}")]
    NoType(Kind, String),
    /// No member of that name.
    #[error("this kernel's struct {0} has no field {1}")]
    NoMember(String, String),
    /// No enumerator of that name.
    #[error("this kernel's BTF has no enumerator {0}")]
    NoEnumerator(String),
    /// Several types of one name that differ in what was asked.
    #[error("this kernel's BTF has several struct {0} that disagree on {1}")]
    Ambiguous(String, String),
}

/// Kinds of type that are looked up by name (`BTF_KIND_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A structure.
    Struct = 4,
    /// An enumeration (also its 64-bit form).
    Enum = 6,
    /// A typedef.
    Typedef = 8,
    /// A function.
    Func = 12,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Struct => "struct",
            Self::Enum => "enum",
            Self::Typedef => "typedef",
            Self::Func => "function",
        })
    }
}

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bits from the start of the structure.
    pub bit: u32,
    /// Bits of a bit-field, 0 for an ordinary member.
    pub bits: u32,
}

impl Member {
    /// Byte that holds its first bit.
    pub fn byte(self) -> u32 {
        self.bit / 8
    }

    /// Mask of the bit-field within that byte; `None` if it is no bit-field or reaches beyond.
    pub fn mask(self) -> Option<u32> {
        let shift = self.bit % 8;
        (self.bits > 0 && shift + self.bits <= 8).then(|| ((1 << self.bits) - 1) << shift)
    }
}

/// Type information: the kernel's own, or the kernel's followed by one module's.
#[derive(Clone, Debug)]
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Start of each type in `types`; index is the type id less one.
    starts: Vec<u32>,
    /// (hash of the name, id), sorted.
    names: Vec<(u32, u32)>,
}

const NAMED: [u32; 5] = [4, 6, 8, 12, 19];

impl Btf {
    /// Reads one blob, or a base and its split blob; ids run on just as the kernel numbers them.
    pub fn parse(parts: &[&[u8]]) -> Result<Self, BtfError> {
        let (mut types, mut strings) = (Vec::new(), Vec::new());
        for part in parts {
            let (part_types, part_strings) = sections(part).ok_or(BtfError::Format("bad header"))?;
            types.extend_from_slice(part_types);
            strings.extend_from_slice(part_strings);
        }
        let mut btf = Self { types, strings, starts: Vec::new(), names: Vec::new() };
        let mut at = 0;
        while at < btf.types.len() {
            let size = btf.size_at(at).ok_or(BtfError::Format("type cut short"))?;
            btf.starts.push(u32::try_from(at).map_err(|_| BtfError::Format("too large"))?);
            let id = u32::try_from(btf.starts.len()).map_err(|_| BtfError::Format("too many types"))?;
            if NAMED.contains(&btf.kind_at(at)) {
                let name = btf.name(btf.word(at).unwrap_or(0));
                if !name.is_empty() {
                    let entry = (hash(name), id);
                    btf.names.push(entry);
                }
            }
            at += size;
        }
        btf.names.sort_unstable();
        Ok(btf)
    }

    /// Id of the first type of that kind and name, as the kernel numbers it.
    pub fn id(&self, kind: Kind, name: &str) -> Result<u32, BtfError> {
        self.ids(kind, name).next().ok_or_else(|| BtfError::NoType(kind, name.to_owned()))
    }

    /// Member of a structure by dotted path; anonymous structures and unions on the way are looked through.
    pub fn member(&self, structure: &str, path: &str) -> Result<Member, BtfError> {
        let mut found: Option<Member> = None;
        for id in self.ids(Kind::Struct, structure) {
            match (self.walk(id, path), found) {
                (Some(member), None) => found = Some(member),
                (Some(member), Some(before)) if member != before => {
                    return Err(BtfError::Ambiguous(structure.to_owned(), path.to_owned()));
                }
                _ => {}
            }
        }
        self.id(Kind::Struct, structure)?;
        found.ok_or_else(|| BtfError::NoMember(structure.to_owned(), path.to_owned()))
    }

    /// Value of an enumerator, whatever its enumeration is called (the low 32 bits).
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        (0..self.starts.len())
            .filter_map(|index| self.enumerators(u32::try_from(index + 1).ok()?))
            .find_map(|mut all| all.find_map(|(label, value)| (label == name).then_some(value)))
    }

    /// Names of an enumeration's values.
    pub fn enumeration(&self, name: &str) -> BTreeMap<u32, String> {
        let ids = self.ids(Kind::Enum, name).filter_map(|id| self.enumerators(id));
        ids.flatten().map(|(label, value)| (value, label.to_owned())).collect()
    }

    /// Arguments of a tracepoint as a `tp_btf` program gets them.
    pub fn tracepoint_args(&self, tracepoint: &str) -> Result<usize, BtfError> {
        let typedef = self.id(Kind::Typedef, &format!("btf_trace_{tracepoint}"))?;
        let proto = self.start(self.resolve(typedef, true)).filter(|at| self.kind_at(*at) == 13);
        let at = proto.ok_or(BtfError::Format("tracepoint without a prototype"))?;
        Ok(self.vlen_at(at).saturating_sub(1)) // the first is the tracepoint's private data
    }

    fn ids(&self, kind: Kind, name: &str) -> impl Iterator<Item = u32> {
        let wanted = hash(name);
        let first = self.names.partition_point(|(h, _)| *h < wanted);
        self.names[first..].iter().take_while(move |(h, _)| *h == wanted).map(|(_, id)| *id).filter(
            move |id| {
                self.start(*id).is_some_and(|at| {
                    let found = self.kind_at(at);
                    (found == kind as u32 || (kind == Kind::Enum && found == 19))
                        && self.word(at).is_some_and(|offset| self.name(offset) == name)
                })
            },
        )
    }

    fn walk(&self, mut id: u32, path: &str) -> Option<Member> {
        let mut member = Member { bit: 0, bits: 0 };
        for name in path.split('.') {
            let (next, step) = self.find(id, name, 0)?;
            member = Member { bit: member.bit.checked_add(step.bit)?, bits: step.bits };
            id = next;
        }
        Some(member)
    }

    fn find(&self, id: u32, name: &str, depth: u8) -> Option<(u32, Member)> {
        let at = self.start(self.resolve(id, false))?;
        if depth > 16 || !matches!(self.kind_at(at), 4 | 5) {
            return None;
        }
        let flagged = self.word(at + 4)? >> 31 == 1;
        for index in 0..self.vlen_at(at) {
            let entry = at + 12 + index * 12;
            let (label, inner, raw) =
                (self.name(self.word(entry)?), self.word(entry + 4)?, self.word(entry + 8)?);
            let here = if flagged {
                Member { bit: raw & 0xff_ffff, bits: raw >> 24 }
            } else {
                Member { bit: raw, bits: 0 }
            };
            if label == name {
                return Some((inner, here));
            }
            if label.is_empty()
                && let Some((found, deeper)) = self.find(inner, name, depth + 1)
            {
                let bit = here.bit.checked_add(deeper.bit)?;
                return Some((found, Member { bit, bits: deeper.bits }));
            }
        }
        None
    }

    fn enumerators(&self, id: u32) -> Option<impl Iterator<Item = (&str, u32)>> {
        let at = self.start(id)?;
        let step = match self.kind_at(at) {
            6 => 8,
            19 => 12,
            _ => return None,
        };
        let all = (0..self.vlen_at(at)).filter_map(move |index| {
            let entry = at + 12 + index * step;
            Some((self.name(self.word(entry)?), self.word(entry + 4)?))
        });
        Some(all)
    }

    /// Follows typedefs and qualifiers, and pointers if asked to, to what they stand for.
    fn resolve(&self, mut id: u32, pointers: bool) -> u32 {
        for _ in 0..32 {
            match self.start(id).map(|at| (at, self.kind_at(at))) {
                Some((at, 8..=11 | 18)) => id = self.word(at + 8).unwrap_or(0),
                Some((at, 2)) if pointers => id = self.word(at + 8).unwrap_or(0),
                _ => break,
            }
        }
        id
    }

    fn start(&self, id: u32) -> Option<usize> {
        self.starts.get((id as usize).checked_sub(1)?).map(|at| *at as usize)
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.types, at)
    }

    fn kind_at(&self, at: usize) -> u32 {
        self.word(at + 4).unwrap_or(0) >> 24 & 0x1f
    }

    fn vlen_at(&self, at: usize) -> usize {
        (self.word(at + 4).unwrap_or(0) & 0xffff) as usize
    }

    fn size_at(&self, at: usize) -> Option<usize> {
        let vlen = self.vlen_at(at);
        let more = match self.kind_at(at) {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * vlen,
            6 | 13 => 8 * vlen,
            2 | 7..=12 | 16 | 18 => 0,
            _ => return None, // a kind newer than this reader: its size is not known
        };
        (at + 12 + more <= self.types.len()).then_some(12 + more)
    }

    fn name(&self, offset: u32) -> &str {
        let tail = self.strings.get(offset as usize..).unwrap_or_default();
        let end = tail.iter().position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&tail[..end]).unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Type and string sections of a blob.
fn sections(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    const MAGIC: u32 = 0xeb9f;
    if word(blob, 0)? & 0xffff != MAGIC {
        return None;
    }
    let header = word(blob, 4)? as usize;
    let section = |offset: usize| {
        let start = header.checked_add(word(blob, offset)? as usize)?;
        blob.get(start..start.checked_add(word(blob, offset + 4)? as usize)?)
    };
    Some((section(8)?, section(16)?))
}

/// FNV-1a: names are short and trusted enough.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
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
}
