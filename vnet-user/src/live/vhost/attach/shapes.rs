//! The verifier's word on every program, also where there is no vhost, or where functions cannot be traced: each is loaded,
//! not attached, for a tracepoint that hands over as many arguments.

use std::{collections::BTreeMap, fs};

use vnet_ebpf::offsets::{ABSENT, FIELDS, Field, Offsets};

use super::{super::described::PROGRAMS, *};
use crate::live::{
    btf::Btf,
    files::ITERATOR,
    load::{
        Loaded,
        shapes::{SLOTS, skipped},
        verified,
    },
    object::object,
    relocate,
};

/// What the object looks like when those fields are absent that `absent` names, and all others are somewhere.
fn shaped(offsets: &Offsets, absent: &[Field], cache: BorrowedFd<'_>) -> Vec<u8> {
    let mut offsets = *offsets;
    for (field, ..) in FIELDS {
        let value = &mut offsets.0[*field as usize];
        if absent.contains(field) {
            *value = ABSENT;
        } else if *value == ABSENT {
            // Where a field is does not matter to the verifier: all of these are read as plain memory.
            *value = 64;
        }
    }
    relocate::fields(&object().unwrap(), &offsets, cache).unwrap()
}

#[test]
fn every_program_is_accepted_in_every_shape() {
    if skipped() {
        return;
    }
    let mut kernel = Kernel::read(&[]).unwrap();
    let btf = Btf::parse(&[&fs::read("/sys/kernel/btf/vmlinux").unwrap()]).unwrap();
    // Before 5.17 `kfree_skb` hands over less than is read of a function.
    let enough = kernel.tracepoint_args("kfree_skb").is_some_and(|args| args >= 3);
    let tracepoint = btf.tracepoint(if enough { "kfree_skb" } else { "net_dev_xmit" }).unwrap();
    let loaded = Loaded::new(&mut kernel, SLOTS, &[]).unwrap();
    let mut verified = BTreeMap::new();
    // The last two: a worker is a task (before 6.4), and none is a thread of its own.
    let absents: [&[Field]; 4] = [
        &[],
        &[Field::tun_xdp_gso],
        &[Field::vq_worker, Field::worker_vtsk, Field::worker_kthread, Field::vtsk_task, Field::nvq_ubufs],
        &[Field::dev_worker, Field::worker_kthread],
    ];
    let walk = kernel.function(ITERATOR.0, ITERATOR.1).unwrap();
    for absent in absents {
        let code =
            Code::new(&shaped(&kernel.offsets, absent, loaded.maps.cache.fd()), &loaded.files()).unwrap();
        let refused: Vec<_> = PROGRAMS
            .iter()
            .filter_map(|program| match code.load(program.name, When::Tracepoint, None, tracepoint) {
                Ok(fd) => {
                    verified::most(&mut verified, program.name, &fd);
                    None
                }
                Err(error) => Some(format!("{}: {error:#}", program.name)),
            })
            .collect();
        code.load("open_file", When::Each, None, walk.id).unwrap();
        assert!(refused.is_empty(), "without {absent:?}: {}", refused.join("\n"));
    }
    verified::assert_no_more(&verified);
}

/// The twins need nothing of vhost's own structures; what differs between kernels is how a VLAN tag is told, and the
/// arguments of one function.
#[test]
fn every_twin_is_accepted_in_every_shape() {
    if skipped() {
        return;
    }
    // They are loaded, not attached: the kind of program is that of uprobes too.
    if !["kprobe", "uprobe"]
        .iter()
        .any(|kind| fs::exists(format!("/sys/bus/event_source/devices/{kind}")).unwrap_or(false))
    {
        println!("skipped: this kernel has neither kprobes nor uprobes");
        return;
    }
    let mut kernel = Kernel::read(&[]).unwrap();
    let loaded = Loaded::new(&mut kernel, SLOTS, &[]).unwrap();
    let mut verified = BTreeMap::new();
    for absent in [&[][..], &[Field::skb_vlan_all], &[Field::skb_vlan_all, Field::skb_vlan_present]] {
        for nheads in [0, 1] {
            kernel.set(Field::used_has_nheads, nheads);
            let object = shaped(&kernel.offsets, absent, loaded.maps.cache.fd());
            let code = Code::new(&object, &loaded.files()).unwrap();
            for Program { name, when, .. } in learned::LEARNED.programs {
                let twin = code.load(name, *when, None, 0).unwrap_or_else(|error| {
                    panic!("{name} without {absent:?}: {error:#}");
                });
                verified::most(&mut verified, name, &twin);
            }
        }
    }
    verified::assert_no_more(&verified);
}

/// What counts a tap's packets takes part in what its twins learn.
#[test]
fn packets_are_counted_while_queues_are_learned() {
    if skipped() {
        return;
    }
    let mut kernel = Kernel::read(&[]).unwrap();
    let loaded = Loaded::new(&mut kernel, SLOTS, &[]).unwrap();
    kernel.set(Field::learning, 1);
    let object = relocate::fields(&object().unwrap(), &kernel.offsets, loaded.maps.cache.fd()).unwrap();
    let code = Code::new(&object, &loaded.files()).unwrap();
    let tracepoint = kernel.tracepoint("netif_receive_skb_entry").unwrap();
    let mut verified = BTreeMap::new();
    verified::most(
        &mut verified,
        "recv, learning",
        &code.load("recv", When::Tracepoint, None, tracepoint).unwrap(),
    );
    verified::assert_no_more(&verified);
}
