//! Every shape that the programs take on kernels that lack something, loaded into the running kernel.

use std::collections::BTreeMap;

use vnet_ebpf::offsets::{ABSENT, FIELDS, Lookup};

use super::*;
use crate::live::prereq;

/// Signals through a drop program that cannot work without the sender of a packet.
const SENDER_NAMES: [&str; 4] = ["tun_file_sk", "tun_file_tun", "tun_file_queue_index", "tun_dev"];

/// Room for that many queues: there is no traffic here.
pub(crate) const SLOTS: u32 = 64;

/// Says why these tests cannot run here, if so.
pub(crate) fn skipped() -> bool {
    let fatal = prereq::check().into_iter().find(|problem| problem.fatal).map(|problem| problem.sentence);
    let why = fatal.or_else(|| object().err().map(|error| format!("{error:#}")));
    if let Some(why) = &why {
        println!("skipped: {why}");
    }
    why.is_some()
}

/// Loads and attaches everything on a kernel without these.
fn without(absent: &[&str]) -> Result<Loaded> {
    let absent: Vec<String> = absent.iter().map(|name| (*name).to_owned()).collect();
    Loaded::new(&mut Kernel::read(&absent)?, SLOTS, &absent)
}

fn probe<'a>(loaded: &'a Loaded, signal: &str) -> &'a Probe {
    let found = loaded.probes.iter().find(|probe| probe.signal == signal);
    found.unwrap_or_else(|| panic!("no signal {signal}"))
}

/// Fails unless exactly the signals of `lost` programs are unavailable, each for a reason that has all of `words`.
#[track_caller]
fn assert_lost(loaded: &Loaded, lost: impl Fn(&Program) -> bool, words: &[&str]) {
    for program in PROGRAMS {
        for signal in program.signals {
            let Probe { state, reason, .. } = probe(loaded, signal);
            if lost(program) {
                assert_eq!(*state, Known::Unavailable, "{words:?}: {signal}");
                let reason = reason.as_deref().unwrap_or_default();
                assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {signal}: {reason}");
            } else if *signal != "tap.tx.drops" || loaded.kernel.why_not(Field::tun_file_tun).is_none() {
                // Where tun is not described, nothing tells who sent what it drops.
                assert_ne!(*state, Known::Unavailable, "{words:?}: {signal}: {reason:?}");
            }
        }
    }
}

/// What names a field to an operator.
fn words(lookup: Lookup) -> Option<Vec<&'static str>> {
    match lookup {
        Lookup::Offset(structure, path) | Lookup::Mask(structure, path) => Some(vec![structure, path]),
        Lookup::Enumerator(name) => Some(vec![name]),
        Lookup::Size(structure) => Some(vec![structure]),
        Lookup::Setting => None,
    }
}

#[test]
fn every_program_loads_here() {
    if skipped() {
        return;
    }
    let loaded = without(&[]).unwrap();
    let mut verified = BTreeMap::new();
    for (name, program) in loaded.ebpf.programs() {
        // Those that were only candidates are not loaded.
        let Ok(fd) = program.fd() else { continue };
        verified::most(&mut verified, name, &fd.as_fd().try_clone_to_owned().unwrap());
    }
    verified::assert_no_more(&verified);
    assert_lost(&loaded, |_| false, &["nothing is left out"]);
}

#[test]
fn a_tracepoint_less_costs_its_own_signals() {
    if skipped() {
        return;
    }
    for absent in PROGRAMS {
        let loaded = without(&[absent.tracepoint]).unwrap();
        assert_lost(
            &loaded,
            |program| program.name == absent.name,
            &["this kernel has no tracepoint", absent.tracepoint],
        );
    }
}

#[test]
fn without_any_tracepoint_it_does_not_start() {
    if skipped() {
        return;
    }
    let all: Vec<_> = PROGRAMS.iter().map(|program| program.tracepoint).collect();
    let error = without(&all).err().expect("nothing is measured");
    assert!(error.to_string().starts_with("no probe can be attached here: this kernel has no tracepoint"));
}

#[test]
fn a_field_less_costs_the_programs_that_need_it() {
    if skipped() {
        return;
    }
    let kernel = Kernel::read(&[]).unwrap();
    for (field, name, lookup, needed) in FIELDS {
        let Some(words) = words(*lookup).filter(|_| kernel.why_not(*field).is_none()) else { continue };
        let mut lacking = kernel.clone();
        lacking.leave_out(name);
        let loaded = Loaded::new(&mut lacking, SLOTS, &[]);
        if *needed == by::EVERY {
            let error = loaded.err().expect(name).to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{name}: {error}");
            continue;
        }
        let mut loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        if SENDER_NAMES.contains(name) {
            let drops = loaded.probes.iter_mut().find(|probe| probe.signal == "tap.tx.drops").unwrap();
            assert_eq!(drops.state, Known::Unavailable, "{name}");
            let reason = drops.reason.as_deref().unwrap_or_default();
            assert!(words.iter().all(|word| reason.contains(word)), "{name}: {reason}");
            drops.state = Known::Exact; // the rest is as without any loss
        }
        assert_lost(&loaded, |program| program.by & needed != 0, &words);
        let refused = if needed & by::DROP != 0 { Known::Derived } else { Known::Exact };
        if needed & by::XMIT == 0 {
            assert_eq!(probe(&loaded, "tap.rx").state, refused, "{name}");
        }
    }
}

#[test]
fn registrations_are_noticed_in_another_way_or_not_at_all() {
    if skipped() {
        return;
    }
    for absent in [&[][..], &["register_netdevice"], &["register_netdevice", "notifier_run"]] {
        let loaded = without(absent).unwrap();
        assert_lost(&loaded, |_| false, absent);
        let devices = probe(&loaded, "devices");
        println!("without {absent:?}: {}", devices.via);
        assert_eq!(devices.state, Known::Exact);
        assert!(absent.iter().all(|absent| !devices.via.contains(absent)), "{devices:?}");
    }
    let neither = without(&["register_netdevice", "notifier_run"]).unwrap();
    let Probe { via, reason, .. } = probe(&neither, "devices");
    assert_eq!(via, "kernfs_node.id");
    assert!(
        reason.as_deref().is_some_and(|reason| reason.starts_with("a packet costs more: ")),
        "{reason:?}"
    );
}

#[test]
fn both_ways_to_tell_a_vlan_tag_load_and_none_too() {
    if skipped() {
        return;
    }
    let load = |change: &dyn Fn(&mut Kernel)| {
        let mut kernel = Kernel::read(&[]).unwrap();
        change(&mut kernel);
        assert_lost(&Loaded::new(&mut kernel, SLOTS, &[]).unwrap(), |_| false, &["vlan"]);
    };
    load(&|_| {});
    load(&|kernel| {
        kernel.set(Field::skb_vlan_all, ABSENT);
        kernel.set(Field::skb_vlan_present, ABSENT);
    });
    // Where this kernel has no `vlan_present`, another bit of the same structure shows that the branch is accepted.
    load(&|kernel| {
        kernel.set(Field::skb_vlan_all, ABSENT);
        kernel.stand_in(Field::skb_vlan_present, Lookup::Offset("sk_buff", "cloned"));
        kernel.stand_in(Field::skb_vlan_present_mask, Lookup::Mask("sk_buff", "cloned"));
    });
}

#[test]
fn without_symbols_drops_are_unknown_and_the_rest_is_counted() {
    if skipped() {
        return;
    }
    let loaded = without(&["kallsyms"]).unwrap();
    assert_lost(&loaded, |program| program.name == "drop", &["kernel addresses are hidden", "CAP_SYSLOG"]);
    assert_eq!(probe(&loaded, "tap.rx").state, Known::Derived);
}
