//! Puzzles: several things look wrong, and one is.

use super::{
    rules_of,
    world::{Host, World},
};

fn world(text: &str) -> World {
    toml::from_str(text).expect("a world")
}

/// 94 % of the packets on one of four queues, its worker full.
const ELEPHANT: &str = r#"
topology = "1/7 tap0 tap 4 disabled=0 vhost nozerocopy pid=4711"
second = "1/7#0 rx 200000x1500; 1/7#0 rx-ring empty=10 weight=700; 1/7#0 worker 4712 vhost run=970ms cpu=8; 1/7#1 rx 4000x1500; 1/7#1 worker 4713 vhost run=30ms cpu=9; 1/7#2 rx 4000x1500; 1/7#2 worker 4714 vhost run=30ms cpu=10; 1/7#3 rx 4000x1500; 1/7#3 worker 4715 vhost run=30ms cpu=11"
vms = ["4711 web 0@0/0 1@1/0 2@2/0 3@3/0"]
"#;

#[test]
fn an_elephant_flow_is_not_mended_by_queues() {
    let report = Host::default().run(&world(ELEPHANT), 6);
    assert_eq!(rules_of(&report), ["R12"]);
    let finding = &report.findings[0];
    assert_eq!((finding.fix.len(), &finding.explains[..]), (0, &["R46".to_owned()][..]), "{finding:#?}");
    assert!(finding.expect.starts_with("No change of queues helps"), "{finding:#?}");
}

/// The guest never ran `ethtool -L`: one of four queues enabled, its worker full.
#[test]
fn queues_that_the_guest_never_enabled_are_not_too_few_queues() {
    let text = ELEPHANT.replace("tap 4 disabled=0", "tap 1 disabled=3");
    let report = Host::default().run(&world(&text), 6);
    assert_eq!(rules_of(&report), ["R4"]);
    let finding = &report.findings[0];
    assert!(finding.fix[0].contains("ethtool -L $i combined 4"), "{finding:#?}");
    assert!(finding.fix.iter().all(|command| !command.contains("virsh")), "no new definition is asked for");
    assert!(finding.explains.contains(&"R1".to_owned()), "{finding:#?}");
}

/// Both: four of eight queues enabled, and one connection. Enabling the rest does not help.
#[test]
fn with_an_elephant_more_enabled_queues_are_the_wrong_advice() {
    let text = ELEPHANT
        .replace("tap 4 disabled=0", "tap 4 disabled=4")
        .replace("3@3/0", "3@3/0 4@4/0 5@5/0 6@6/0 7@7/0");
    let report = Host::default().run(&world(&text), 6);
    assert_eq!(rules_of(&report), ["R12"]);
    let finding = &report.findings[0];
    assert!(finding.explains.contains(&"R4".to_owned()) && finding.fix.is_empty(), "{finding:#?}");
}

/// One queue, four vCPUs, a full worker: here more queues are right.
#[test]
fn too_few_queues_are_told_from_an_elephant() {
    let text = ELEPHANT.replace("tap 4 disabled=0", "tap 1 disabled=0");
    let report = Host::default().run(&world(&text), 6);
    assert_eq!(rules_of(&report), ["R1"]);
    assert!(report.findings[0].fix[0].contains("queues='4'"), "{:#?}", report.findings);
}

/// Drops because the vCPU does not run are not a short ring, and drops because the worker is full are not either.
#[test]
fn a_starved_vcpu_and_a_saturated_worker_are_told_apart() {
    let starved = r#"
topology = "1/7 tap0 tap 1 disabled=0 vhost nozerocopy pid=4711"
second = "1/7#0 rx 50000x1500 FULL_RING=5000; 1/7#0 rx-ring empty=500; 1/7#0 worker 4712 vhost run=200ms cpu=8"
vms = ["4711 web 0@0/0"]
interrupts = ["1/7#0 rx vcpu=0 vector=40 level=llc count=500 preempted=200"]
"#;
    let report = Host::default().run(&world(starved), 6);
    assert_eq!(rules_of(&report), ["R49"]);
    assert_eq!(report.findings[0].explains, ["R40"]);
    assert_eq!(report.findings[0].level, vnet::report::Level::Critical);

    let saturated =
        starved.replace("empty=500", "empty=50 weight=450").replace("preempted=200", "preempted=0");
    let report = Host::default().run(&world(&saturated.replace("run=200ms", "run=980ms")), 6);
    assert_eq!(rules_of(&report), ["R46"]);
    assert_eq!(report.findings[0].explains, ["R40"]);
    assert_eq!(report.findings[0].fix, [""; 0], "one vCPU, one queue: no change of queues helps");
}
