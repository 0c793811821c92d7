//! Records through a recording: what comes back, and what of a file that is not whole.

use proptest::{collection::vec, prelude::*};
use vnet::{
    record::Record,
    state::State,
    trace::{Reader, Writer},
};

use crate::any::record;

fn written(records: &[Record], flush: impl Fn(usize) -> bool, picture: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file).expect("memory takes it");
    for (i, record) in records.iter().enumerate() {
        writer.push(record).expect("memory takes it");
        // After its end a recording has nothing to say.
        if picture(i) && !matches!(record, Record::End(_)) {
            writer.picture().expect("memory takes it");
        } else if flush(i) {
            writer.flush().expect("memory takes it");
        }
    }
    writer.flush().expect("memory takes it");
    file
}

fn report(records: &[Record]) -> String {
    let mut state = State::default();
    for record in records {
        state.apply(record);
    }
    serde_json::to_string(&state.report()).expect("a report is JSON")
}

/// Records that a file gives, whether its end was there, and what is wrong with it.
fn read(file: &[u8]) -> Result<(Vec<Record>, bool, Option<String>), String> {
    let mut reader = Reader::new(file).map_err(|error| error.to_string())?;
    let records = reader.by_ref().collect();
    Ok((records, reader.seen().ended, reader.problem().map(ToString::to_string)))
}

/// A file of some blocks, and the records in it.
fn small() -> (Vec<Record>, Vec<u8>) {
    let lines = [
        "source tap.tx tap.rx tap.rx.drops=unavailable vhost.copies",
        "topology; 1/7 tap0 tap 2 vhost; 1/9.1 tap1 tap 1 gone",
        "sample 1s; 1/7#0 tx 10x64 2x1500; 1/7#1 rx 3x100 FULL_RING=2",
        "lost 3 0",
        "sample 2s; 1/7#0 tx 11x64 2x1500; 1/7#0 copies batched=13; 1/7#0 worker 4712 vhost-4711 tgid=4711 cpu=3",
        "sample 3s; 1/7#0 worker ended; 1/7 residuals tx=-1",
        "end 4s",
    ];
    let records: Vec<_> = lines.iter().map(|line| crate::records::parse(line).expect("a record")).collect();
    let file = written(&records, |i| i % 2 == 1, |i| i == 3);
    (records, file)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    /// Any records come back as they were, and so the report of a recording is that of the records, byte for byte.
    #[test]
    fn what_is_written_is_read(records in vec(record(), 0..20), blocks: u32, pictures: u32) {
        let file = written(&records, |i| blocks >> (i % 32) & 1 == 1, |i| pictures & blocks >> (i % 32) & 1 == 1);
        let (back, ended, problem) = read(&file).unwrap();
        prop_assert_eq!(&back, &records);
        prop_assert_eq!(problem, None);
        prop_assert_eq!(ended, matches!(records.last(), Some(Record::End(_))));
        prop_assert_eq!(report(&back), report(&records));
    }
}

#[test]
fn cut_anywhere_it_gives_what_is_whole_and_says_so() {
    let (records, file) = small();
    for length in 0..file.len() {
        match read(&file[..length]) {
            Err(error) => assert!(length < 12 && error.contains("no recording"), "{length}: {error}"),
            Ok((back, ended, _)) => {
                assert!(!ended, "{length}");
                assert!(back.len() < records.len() && back == records[..back.len()], "{length}");
            }
        }
    }
    let (back, ended, problem) = read(&file).unwrap();
    assert_eq!((back, ended, problem), (records, true, None));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (records, file) = small();
    for bit in 0..file.len() * 8 {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        match read(&file) {
            Err(error) => assert!(bit < 12 * 8, "{bit}: {error}"),
            Ok((back, _, problem)) => {
                assert!(problem.is_some(), "bit {bit} makes no difference");
                assert!(back.len() < records.len() && back == records[..back.len()], "bit {bit}");
            }
        }
    }
}

#[test]
fn what_is_none_is_told() {
    for (file, told) in [
        (&b""[..], "this is no recording of vnet"),
        (b"{\"schema\": 1, \"source\": {}}", "this is no recording of vnet"),
        (b"\x89vnet\r\n\x1a\x02\0\0\0", "format 2"),
        (b"\x89vnet\r\n\x1a\0\0\0\0", "this is no recording of vnet"),
    ] {
        let error = read(file).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}
