//! The verifier's word on every program, also where there is no vhost, or where functions cannot be traced: each is loaded,
//! not attached, for a tracepoint that hands over as many arguments.

use std::{collections::BTreeMap, fs};

use vnet_ebpf::offsets::{ABSENT, FIELDS, Field, Offsets};

use super::*;
use crate::live::{
    btf::Btf,
    files::ITERATOR,
    load::{
        Loaded,
        shapes::{SLOTS, skipped},
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
    let tracepoint = btf.tracepoint("kfree_skb").unwrap();
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
                    let mut loaded = aya::programs::loaded_programs().flatten();
                    let count = loaded.find(|info| info.name_as_str() == Some(program.name));
                    verified.insert(program.name, count.and_then(|info| info.verified_instruction_count()));
                    drop(fd);
                    None
                }
                Err(error) => Some(format!("{}: {error:#}", program.name)),
            })
            .collect();
        code.load("open_file", When::Each, None, walk.id).unwrap();
        assert!(refused.is_empty(), "without {absent:?}: {}", refused.join("\n"));
    }
    println!("instructions verified: {verified:?}");
}
