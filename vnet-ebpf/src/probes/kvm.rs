//! Which vCPU a call interrupts, and which thread kicks.
//!
//! vhost signals an eventfd, which wakes an `irqfd` of KVM, which gives an interrupt to the APIC of a vCPU: all in one go on
//! the worker's thread, with interrupts off from the `irqfd` on. So what this CPU sees in between belongs to that call.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, HashMap, Queue},
};
use vnet_ebpf::{
    counter::lost,
    device::NO_SLOT,
    kvm::{NO_VCPU, NONE, Path, PathRow, Waking, state, what},
    vhost::{RX_RING, TX_RING, TX_UPDATE},
};

use super::{
    Kernel, MMAPABLE, cpu, increment, lose, offset, probe, store,
    vhost::{again, pair, tally},
};

const NOEXIST: u64 = 1;

/// `IN_GUEST_MODE` of `kvm_vcpu.mode`.
const IN_GUEST_MODE: u32 = 1;

/// How often each path was taken; user space sets the size.
#[map]
static PATHS: Array<PathRow> = Array::with_max_entries(1, MMAPABLE);

/// Rows by path; user space sets the size.
#[map]
static PATH_ROWS: HashMap<Path, u32> = HashMap::with_max_entries(1, 0);

/// Rows that no path has; user space fills it.
#[map]
static FREE_PATHS: Queue<u32> = Queue::with_max_entries(1, 0);

/// What each CPU is in the midst of; user space sets the size.
#[map]
static WAKING: Array<Waking> = Array::with_max_entries(1, 0);

#[inline(always)]
fn waking() -> Option<&'static mut Waking> {
    // SAFETY: a map value that this CPU alone touches.
    WAKING.get_ptr_mut(cpu()).map(|waking| unsafe { &mut *waking })
}

/// `irqfd_wakeup(wait, …)` begins.
#[inline(always)]
pub(crate) fn wakes<C: EbpfContext>(ctx: &C, wait: u64) {
    let tid = bpf_get_current_pid_tgid() as u32;
    let Some(number) = pair::number(tid) else { return };
    let Some(pair) = pair::at(number) else { return };
    let irqfd = wait.wrapping_sub(u64::from(offset!(irqfd_wait))) as Kernel;
    // Not the eventfd of this call: an interrupt came in between, and signals another one.
    if pair.updating == 0 || probe!(irqfd, irqfd_eventfd: u64) != Some(pair.context) {
        return;
    }
    let slot = pair::slot(ctx, pair);
    let (Some(kvm), Some(gsi), Some(waking)) =
        (probe!(irqfd, irqfd_kvm: u64), probe!(irqfd, irqfd_gsi: u32), waking())
    else {
        return;
    };
    if slot == NO_SLOT {
        return;
    }
    let (ring, what) =
        if pair.updating == TX_UPDATE { (TX_RING, what::TX_CALL) } else { (RX_RING, what::RX_CALL) };
    tally(slot, ring.woken(), 1);
    *waking = Waking { tid, pair: number, gsi, slot, kvm, what: u32::from(what), ..Waking::default() };
}

/// It ends. If no vCPU was interrupted, a kernel thread will see to it: the route is not one to a local APIC.
#[inline(always)]
pub(crate) fn woken() {
    let Some(waking) = waking() else { return };
    if waking.tid != bpf_get_current_pid_tgid() as u32 {
        return;
    }
    if waking.accepted == [0, 0] {
        let path = Path { vcpu: NO_VCPU, tid: 0, to: NONE, vector: NONE, ..path(waking) };
        count(waking, &path, state::ROOT);
    }
    waking.tid = 0;
}

/// `__apic_accept_irq(apic, delivery mode, vector, …)` begins.
#[inline(always)]
pub(crate) fn accepts(apic: Kernel, vector: u32) {
    let Some(waking) = waking() else { return };
    if waking.tid == 0 || waking.tid != bpf_get_current_pid_tgid() as u32 {
        return;
    }
    // Whichever of the two programs comes first counts it, see `again`.
    let (own, other) = if again() { (1, 0) } else { (0, 1) };
    waking.accepted[own] += 1;
    if waking.accepted[other] >= waking.accepted[own] {
        return;
    }
    let Some(vcpu) = probe!(apic, lapic_vcpu: Kernel) else { return };
    let (Some(id), Some(last), Some(mode)) =
        (probe!(vcpu, vcpu_id: u32), probe!(vcpu, vcpu_cpu: u32), probe!(vcpu, vcpu_mode: u32))
    else {
        return;
    };
    let state = if mode == IN_GUEST_MODE {
        state::IN_GUEST
    } else if probe!(vcpu, vcpu_wait_task: u64).unwrap_or(0) != 0 {
        state::BLOCKED
    } else if probe!(vcpu, vcpu_preempted: u8).unwrap_or(0) != 0 {
        state::PREEMPTED
    } else {
        state::ROOT
    };
    let path = Path {
        vcpu: id,
        tid: thread(vcpu),
        to: last as u16, // -1, which is `NONE`, before it has run
        vector: vector as u16 & 0xff,
        ..path(waking)
    };
    count(waking, &path, state);
}

#[inline(always)]
fn path(waking: &Waking) -> Path {
    Path {
        kvm: waking.kvm,
        slot: waking.slot,
        gsi: waking.gsi,
        from: cpu() as u16,
        what: waking.what as u16,
        ..Path::default()
    }
}

/// Thread that ran a vCPU last; 0 when none has.
#[inline(always)]
fn thread(vcpu: Kernel) -> u32 {
    match probe!(vcpu, vcpu_pid: Kernel) {
        Some(pid) if !pid.is_null() => {
            let number = pid.wrapping_add(offset!(pid_numbers) as usize);
            probe!(number, upid_nr: u32).unwrap_or(0)
        }
        _ => 0,
    }
}

/// The current thread kicks the queue of a slot.
#[inline(always)]
pub(crate) fn kicked(slot: u32, transmit: bool) {
    let path = Path {
        slot,
        vcpu: NO_VCPU,
        tid: bpf_get_current_pid_tgid() as u32,
        from: cpu() as u16,
        to: NONE,
        vector: NONE,
        what: if transmit { what::TX_KICK } else { what::RX_KICK },
        ..Path::default()
    };
    if let Some(number) = find(&path) {
        add(number, state::ROOT);
    }
}

/// Counts a call. The path that the pair's calls took last is looked at first, which spares the hash.
#[inline(always)]
fn count(waking: &Waking, path: &Path, state: usize) {
    let Some(pair) = pair::at(waking.pair) else { return };
    let place = &mut pair.paths[(waking.what & 1) as usize];
    if PATHS.get(*place).is_some_and(|row| row.path == *path) {
        add(*place, state);
    } else if let Some(number) = find(path) {
        store!(*place, number);
        add(number, state);
    }
}

#[inline(always)]
fn add(number: u32, state: usize) {
    if let Some(row) = PATHS.get_ptr_mut(number) {
        // SAFETY: the state is one of four.
        increment(unsafe { (&raw mut (*row).counts).cast::<u64>().add(state & 3) });
    }
}

/// The row of a path, a free one when it is new.
#[inline(never)]
fn find(path: &Path) -> Option<u32> {
    // SAFETY: an integer that is never changed after it was inserted.
    if let Some(number) = unsafe { PATH_ROWS.get(path) } {
        return Some(*number);
    }
    let Ok(Some(number)) = FREE_PATHS.pop() else {
        lose(lost::NO_PATH);
        return None;
    };
    let row = PATHS.get_ptr_mut(number)?;
    // SAFETY: the row is ours until its path is in the hash.
    unsafe { core::ptr::write_volatile(&raw mut (*row).path, *path) };
    if PATH_ROWS.insert(path, number, NOEXIST).is_err() {
        let _ = FREE_PATHS.push(number, 0);
        // SAFETY: as above.
        return unsafe { PATH_ROWS.get(path) }.copied();
    }
    Some(number)
}
