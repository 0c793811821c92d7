//! Any ways of calls and kicks, on any host.

use proptest::{collection::vec, option, prelude::*, sample::select};
use vnet::{
    record::{CallPath, KickPath, Paths, Side, Target, VcpuKey, VcpuPlace, VcpuStates},
    topology::{Cpu, Vcpu, Vm},
};

use super::count;

fn side() -> impl Strategy<Value = Side> {
    select(vec![Side::Tx, Side::Rx])
}

fn vcpu() -> impl Strategy<Value = VcpuKey> {
    (option::of(1..3u32), 0..3u32).prop_map(|(vm, vcpu)| VcpuKey { vm, vcpu })
}

pub(super) fn paths() -> impl Strategy<Value = Paths> {
    let target = (vcpu(), 64..66u32, option::of(0..5u32));
    let target = target.prop_map(|(vcpu, vector, cpu)| Target { vcpu, vector, cpu });
    let call = (side(), 0..3u32, 0..5u32, option::of(target));
    let call = call.prop_map(|(side, gsi, worker_cpu, target)| CallPath { side, gsi, worker_cpu, target });
    let states = prop::array::uniform4(count()).prop_map(|[in_guest, blocked, preempted, root]| VcpuStates {
        in_guest,
        blocked,
        preempted,
        root,
    });
    let kick = (side(), 1..4u32, option::of(vcpu()), 0..5u32);
    let kick = kick.prop_map(|(side, tid, vcpu, cpu)| KickPath { side, tid, vcpu, cpu });
    (vec((call, states), 0..4), vec((kick, count()), 0..3)).prop_map(|(calls, kicks)| Paths { calls, kicks })
}

pub(super) fn places() -> impl Strategy<Value = Vec<VcpuPlace>> {
    vec((1..4u32, 0..5u32).prop_map(|(tid, cpu)| VcpuPlace { tid, cpu }), 0..3)
}

pub(super) fn cpus() -> impl Strategy<Value = Vec<Cpu>> {
    let shared = || option::of(0..2u32);
    let cpu = (0..5u32, shared(), shared(), shared());
    vec(cpu.prop_map(|(cpu, core, llc, node)| Cpu { cpu, core, llc, node }), 0..5)
}

pub(super) fn vms() -> impl Strategy<Value = Vec<Vm>> {
    let vcpus = vec((0..3u32, 1..4u32).prop_map(|(id, tid)| Vcpu { id, tid }), 0..3);
    let vm = (1..3u32, option::of(".{0,4}"), option::of(".{0,4}"), vcpus);
    let vm = vm.prop_map(|(pid, name, uuid, vcpus)| Vm { pid, start: 1, monitor: None, name, uuid, vcpus });
    vec(vm, 0..3)
}
