//! Scenarios of the book: which device is which.

use std::{
    collections::BTreeSet,
    fs::File,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    process::{self, Command},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    Inventory,
    book::{Book, Change, Facts, Queues},
};
use crate::topology::{DeviceKey, DeviceKind, IfIndex, Netns};

pub(super) const HERE: Netns = Netns(100);
pub(super) const THERE: Netns = Netns(200);
pub(super) const FIVE: IfIndex = IfIndex(5);

pub(super) fn tap(ifindex: IfIndex, name: &str, address: u8) -> Facts {
    Facts {
        ifindex,
        name: name.to_owned(),
        kind: DeviceKind::Tap,
        address: vec![address],
        queues: Queues { max: Some(256), enabled: Some(1), disabled: Some(0) },
        xdp: false,
    }
}

pub(super) fn key(netns: Netns, ifindex: IfIndex, generation: u32) -> DeviceKey {
    DeviceKey { netns, ifindex, generation }
}

fn bind(book: &mut Book, instance: u64, name: &str) -> DeviceKey {
    book.bind(HERE, FIVE, instance, name, DeviceKind::Tap, false)
}

/// Name and presence of all devices.
fn names(book: &Book) -> Vec<(DeviceKey, String, bool)> {
    book.iter().map(|(key, entry)| (key, entry.facts.name.clone(), entry.present)).collect()
}

#[test]
fn a_reused_index_is_another_device() {
    let mut book = Book::default();
    assert_eq!(book.link(HERE, tap(FIVE, "tap0", 1)), Change::New(key(HERE, FIVE, 0)));
    assert_eq!(book.gone(HERE, FIVE), Change::Gone(key(HERE, FIVE, 0)));
    assert_eq!(book.link(HERE, tap(FIVE, "tap0", 2)), Change::New(key(HERE, FIVE, 1)));
    assert_eq!(book.link(HERE, tap(FIVE, "tap0", 2)), Change::None);
    let present: Vec<_> =
        names(&book).into_iter().map(|(key, _, present)| (key.generation, present)).collect();
    assert_eq!(present, [(0, false), (1, true)]);
}

#[test]
fn a_twin_in_another_namespace_is_another_device() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    book.link(THERE, tap(FIVE, "tap0", 1));
    assert_eq!(book.gone(HERE, FIVE), Change::Gone(key(HERE, FIVE, 0)));
    assert_eq!(names(&book)[1], (key(THERE, FIVE, 0), "tap0".to_owned(), true));
}

#[test]
fn a_rename_and_new_queues_keep_the_device() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    assert_eq!(book.link(HERE, tap(FIVE, "blue", 1)), Change::Facts(key(HERE, FIVE, 0)));
    let mut more = tap(FIVE, "blue", 1);
    more.queues.enabled = Some(2);
    assert_eq!(book.link(HERE, more), Change::Queues(key(HERE, FIVE, 0)));
    // The freed name goes to a new device.
    assert_eq!(book.link(HERE, tap(IfIndex(6), "tap0", 2)), Change::New(key(HERE, IfIndex(6), 0)));
    assert_eq!(names(&book).len(), 2);
}

#[test]
fn a_move_is_an_end_here_and_a_start_there() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    book.gone(HERE, FIVE);
    book.link(THERE, tap(IfIndex(9), "tap0", 1));
    let all = names(&book);
    assert_eq!((all[0].2, all[1].2), (false, true));
}

#[test]
fn a_device_that_comes_back_to_its_namespace_is_listed_once() {
    let mut book = Book::default();
    for _ in 0..3 {
        let Change::New(seen) = book.link(HERE, tap(FIVE, "tap0", 1)) else { panic!("it is there") };
        book.identify(seen, 7);
        assert_eq!(names(&book), [(key(HERE, FIVE, 0), "tap0".to_owned(), true)]);
        assert_eq!(book.gone(HERE, FIVE), Change::Gone(key(HERE, FIVE, 0)));
    }
}

#[test]
fn a_reused_namespace_number_continues_nothing() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    assert_eq!(book.namespace_gone(HERE), [key(HERE, FIVE, 0)]);
    assert_eq!(book.link(HERE, tap(FIVE, "tap0", 1)), Change::New(key(HERE, FIVE, 1)));
}

#[test]
fn a_device_of_another_kind_is_another_device() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    let tun = Facts { kind: DeviceKind::Tun, ..tap(FIVE, "tap0", 1) };
    assert_eq!(book.link(HERE, tun), Change::New(key(HERE, FIVE, 1)));
    assert!(!names(&book)[0].2);
}

#[test]
fn traffic_before_the_news_makes_the_device_that_the_news_describes() {
    let mut book = Book::default();
    assert_eq!(bind(&mut book, 7, "tap0"), key(HERE, FIVE, 0));
    assert_eq!(names(&book), [(key(HERE, FIVE, 0), "tap0".to_owned(), true)]);
    assert_eq!(book.topology().devices[0].queues_enabled, None, "not known yet");
    assert_eq!(book.link(HERE, tap(FIVE, "blue", 1)), Change::New(key(HERE, FIVE, 0)));
    assert_eq!(names(&book), [(key(HERE, FIVE, 0), "blue".to_owned(), true)]);
}

#[test]
fn traffic_of_a_successor_before_the_news_of_the_end() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    book.identify(key(HERE, FIVE, 0), 7);
    assert_eq!(bind(&mut book, 9, "tap0"), key(HERE, FIVE, 1));
    assert_eq!(book.gone(HERE, FIVE), Change::Gone(key(HERE, FIVE, 0)));
    assert_eq!(book.link(HERE, tap(FIVE, "tap0", 2)), Change::New(key(HERE, FIVE, 1)));
    assert_eq!(bind(&mut book, 7, "tap0"), key(HERE, FIVE, 0));
}

#[test]
fn an_instance_older_than_all_known_is_a_device_of_its_own() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    book.identify(key(HERE, FIVE, 0), 7);
    let old = bind(&mut book, 3, "old");
    assert_eq!(old, key(HERE, FIVE, 1));
    assert_eq!(names(&book)[1], (old, "old".to_owned(), false));
    assert_eq!(book.link(HERE, tap(FIVE, "tap0", 1)), Change::None, "the present one stays the present one");
    assert_eq!(bind(&mut book, 3, "old"), old);
    // It does not disturb the order of the others.
    assert_eq!(bind(&mut book, 9, "new"), key(HERE, FIVE, 2));
}

#[test]
fn short_lived_devices_are_told_by_name_and_order() {
    let mut book = Book::default();
    for name in ["a", "b", "b"] {
        book.link(HERE, tap(FIVE, name, 1));
        book.gone(HERE, FIVE);
    }
    assert_eq!(bind(&mut book, 9, "b"), key(HERE, FIVE, 1));
    assert_eq!(bind(&mut book, 7, "b"), key(HERE, FIVE, 0), "older than the one before");
    assert_eq!(bind(&mut book, 11, "b"), key(HERE, FIVE, 2));
}

#[test]
fn a_device_that_a_later_list_has_not_is_gone() {
    let mut book = Book::default();
    assert!(book.resync(HERE, Vec::new(), &[]).is_empty());
    let gone = book.bind(HERE, FIVE, 7, "tap0", DeviceKind::Tap, true);
    assert_eq!(names(&book), [(gone, "tap0".to_owned(), false)]);
    // Unless it comes back: from another namespace, to which it had been moved.
    let back = match book.link(HERE, tap(FIVE, "tap0", 1)) {
        Change::New(key) => book.identify(key, 7),
        other => panic!("{other:?}"),
    };
    assert_eq!(back, Change::New(gone));
    assert_eq!(names(&book), [(gone, "tap0".to_owned(), true)]);
}

#[test]
fn a_look_that_shows_another_instance_splits_the_device() {
    let mut book = Book::default();
    book.link(HERE, tap(FIVE, "tap0", 1));
    book.identify(key(HERE, FIVE, 0), 7);
    // Its end and the start of the next were lost.
    assert_eq!(book.resync(HERE, vec![tap(FIVE, "tap0", 2)], &[]).len(), 1);
    assert_eq!(book.identify(key(HERE, FIVE, 0), 9), Change::New(key(HERE, FIVE, 1)));
    assert_eq!(bind(&mut book, 7, "tap0"), key(HERE, FIVE, 0));
    assert_eq!(bind(&mut book, 9, "tap0"), key(HERE, FIVE, 1));
    let all = names(&book);
    assert_eq!((all[0].2, all[1].2), (false, true));
}

#[test]
fn a_list_closes_what_is_missing_unless_an_event_is_newer() {
    let mut book = Book::default();
    for index in 1..=3 {
        book.link(HERE, tap(IfIndex(index), "x", 1));
    }
    let changes = book.resync(HERE, vec![tap(IfIndex(1), "x", 1), tap(IfIndex(4), "y", 1)], &[IfIndex(3)]);
    assert_eq!(changes, [Change::Gone(key(HERE, IfIndex(2), 0)), Change::New(key(HERE, IfIndex(4), 0))]);
    book.gone(HERE, IfIndex(1));
    assert_eq!(
        book.resync(HERE, vec![tap(IfIndex(1), "x", 1)], &[IfIndex(1)]).len(),
        2,
        "3 and 4 are missing"
    );
    assert!(!names(&book)[0].2, "the event was newer than the list");
}

#[test]
fn uncovered_traffic_is_told() {
    let mut book = Book::default();
    book.link(HERE, Facts { xdp: true, ..tap(IfIndex(1), "x", 1) });
    book.link(HERE, Facts { kind: DeviceKind::Macvtap, ..tap(IfIndex(2), "m", 1) });
    book.link(HERE, tap(IfIndex(3), "t", 1));
    let told: Vec<_> = book.topology().devices.iter().map(|device| device.uncovered.len()).collect();
    assert_eq!(told, [1, 1, 0]);
}

/// On the running kernel, with a socket too small for what happens. Needs root.
#[test]
fn lost_events_are_counted_and_made_good() {
    fn ip(args: &str) {
        let status = Command::new("ip").args(args.split(' ')).status();
        assert!(status.expect("ip is installed").success(), "ip {args}");
    }
    if !rustix::process::geteuid().is_root() || Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: needs root and the ip tool to make taps in a namespace of its own");
        return;
    }
    let name = format!("vnet-inv-{}-lost", process::id());
    ip(&format!("netns add {name}"));
    let file = File::open(format!("/run/netns/{name}")).expect("the namespace");
    let netns = Netns(file.metadata().expect("its number").ino());
    // The thread, and the children that it starts, are in the namespace.
    let result = thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("to enter it");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let _within = runtime.enter();
        ip("tuntap add stays mode tap");
        ip("tuntap add goes mode tap");
        let mut inventory = Inventory::with_buffer(4096).expect("start");
        for round in 0..20 {
            ip(&format!("tuntap add tap{round} mode tap"));
            ip(&format!("link set tap{round} up"));
        }
        ip("tuntap del goes mode tap");
        assert!(inventory.drain().expect("drain"));
        assert!(inventory.lost_events() > 0, "the socket was too small");
        let mut devices = inventory.topology().devices.clone();
        devices.retain(|device| device.key.netns == netns);
        let present: BTreeSet<_> =
            devices.iter().filter(|device| device.present).map(|d| d.name.clone()).collect();
        let wanted = (0..20).map(|round| format!("tap{round}")).chain(["stays".to_owned()]).collect();
        assert_eq!(present, wanted);
        assert!(devices.iter().any(|device| device.name == "goes" && !device.present));
    })
    .join();
    ip(&format!("netns del {name}"));
    assert!(result.is_ok(), "told above");
}
