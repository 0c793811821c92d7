//! Which vhost device a worker serves, and which tap queue is its backend now.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, HashMap, Queue},
};
use vnet_ebpf::{
    counter::lost,
    device::NO_SLOT,
    vhost::{Pair, state},
};

use super::{again, signal, virtqueue};
use crate::probes::{Kernel, MMAPABLE, lose, offset, probe, slots, store};

const NOEXIST: u64 = 1;

/// Kinds of run, as in [`Pair::running`].
pub(super) const TRANSMIT: u32 = 1;
pub(super) const RECEIVE: u32 = 2;

/// All pairs; user space sets the size.
#[map]
static PAIRS: Array<Pair> = Array::with_max_entries(1, MMAPABLE);

/// Pairs by the address of their device; user space sets the size.
#[map]
static DEVICES: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// Pairs by the thread of their worker; user space sets the size.
#[map]
static WORKERS: HashMap<u32, u32> = HashMap::with_max_entries(1, 0);

/// Pairs that nobody has; user space fills it.
#[map]
static FREE_PAIRS: Queue<u32> = Queue::with_max_entries(1, 0);

/// A pair by its number.
#[inline(always)]
pub(crate) fn at(number: u32) -> Option<&'static mut Pair> {
    // SAFETY: a map value. Its worker alone writes it; others read single words.
    PAIRS.get_ptr_mut(number).map(|pair| unsafe { &mut *pair })
}

/// The pair that the current thread serves, if it is a worker that has run.
#[inline(always)]
pub(crate) fn current() -> Option<&'static mut Pair> {
    at(number(bpf_get_current_pid_tgid() as u32)?)
}

/// The number of the pair that a thread serves.
#[inline(always)]
pub(crate) fn number(tid: u32) -> Option<u32> {
    // SAFETY: an integer that is never changed after it was inserted.
    unsafe { WORKERS.get(tid) }.copied()
}

/// The pair of a vhost device, which a worker or a kick is seen of.
#[inline(always)]
pub(crate) fn of(dev: u64) -> Option<(u32, &'static mut Pair)> {
    // SAFETY: as above.
    let number = match unsafe { DEVICES.get(dev) } {
        Some(number) => *number,
        None => claim(dev)?,
    };
    Some((number, at(number)?))
}

#[inline(never)]
fn claim(dev: u64) -> Option<u32> {
    let Ok(Some(number)) = FREE_PAIRS.pop() else {
        lose(lost::NO_PAIR);
        return None;
    };
    let pair = at(number)?;
    *pair = Pair { dev, slot: NO_SLOT, ..Pair::default() };
    if DEVICES.insert(dev, number, NOEXIST).is_err() {
        let _ = FREE_PAIRS.push(number, 0);
        // SAFETY: as above.
        return unsafe { DEVICES.get(dev) }.copied();
    }
    store!(pair.state, state::OPEN);
    Some(number)
}

/// The current thread is the worker of a device; a run of it begins.
#[inline(always)]
pub(crate) fn begin<C: EbpfContext>(ctx: &C, dev: u64, transmit: bool) -> Option<&'static mut Pair> {
    let running = if transmit { TRANSMIT } else { RECEIVE };
    if again() && current().is_some_and(|pair| pair.dev == dev && pair.running == running) {
        return None;
    }
    let socket = probe!(virtqueue(dev, transmit), vq_private_data: u64)?;
    if socket == 0 {
        return None;
    }
    let pair = served(dev)?;
    store!(pair.backends[usize::from(transmit)], socket);
    pair.header = probe!(virtqueue(dev, transmit), nvq_sock_hlen: u32)?;
    (pair.running, pair.batch, pair.run_packets, pair.run_bytes) = (running, 0, 0, 0);
    backend(ctx, pair, socket);
    Some(pair)
}

/// The pair of a device whose worker the current thread is.
#[inline(always)]
pub(super) fn served(dev: u64) -> Option<&'static mut Pair> {
    let (number, pair) = of(dev)?;
    let who = bpf_get_current_pid_tgid();
    if pair.tid != who as u32 {
        store!(pair.tid, who as u32);
        store!(pair.tgid, (who >> 32) as u32);
        let _ = WORKERS.insert(who as u32, number, 0);
    }
    Some(pair)
}

/// A run ends; none was under way where this is known already.
///
/// A receive run begins before it holds the virtqueue: its backend may have been taken away just then, and is seen to be
/// gone here. A transmit run holds it from beginning to end.
#[inline(always)]
pub(crate) fn end(dev: u64, transmit: bool) -> Option<&'static mut Pair> {
    let pair = current()?;
    if pair.dev != dev || pair.running == 0 {
        return None;
    }
    pair.running = 0;
    if !transmit && probe!(virtqueue(dev, false), vq_private_data: u64) == Some(0) {
        store!(pair.backends[0], 0);
    }
    Some(pair)
}

/// The `tun_file` around a socket, if it is one of tun's.
#[inline(always)]
pub(crate) fn file_of(socket: u64) -> u64 {
    socket.wrapping_sub(u64::from(offset!(tun_file_socket)))
}

/// Takes note of the socket that is the pair's backend; the slot of its tap queue now.
#[inline(always)]
pub(crate) fn backend<C: EbpfContext>(ctx: &C, pair: &mut Pair, socket: u64) -> u32 {
    let file = file_of(socket);
    if pair.file != file {
        store!(pair.slot, NO_SLOT);
        pair.file = if is_tun(socket).unwrap_or(false) { file } else { 0 };
    }
    slot(ctx, pair)
}

/// Whether a socket is one of tun's: a macvtap's and a packet socket are not.
#[inline(never)]
pub(crate) fn is_tun(socket: u64) -> Option<bool> {
    let sk = probe!(socket as Kernel, socket_sk: Kernel)?;
    let prot = probe!(sk, sk_prot: Kernel)?;
    Some(probe!(prot, proto_name: [u8; 4])? == *b"tun\0")
}

/// The slot of the tap queue that is the pair's backend now, as its worker finds it. Queues are renumbered when one is
/// detached, so it is looked at each time.
#[inline(always)]
pub(crate) fn slot<C: EbpfContext>(ctx: &C, pair: &mut Pair) -> u32 {
    if pair.file == 0 {
        return NO_SLOT;
    }
    let file = pair.file as Kernel;
    let (Some(tun), Some(queue)) = (probe!(file, tun_file_tun: u64), probe!(file, tun_file_queue_index: u16))
    else {
        return NO_SLOT;
    };
    let (queue, epoch) = (u32::from(queue), slots::now());
    let same = pair.tun == tun && pair.queue == queue && pair.epoch == epoch && epoch != 0;
    if same && pair.slot != NO_SLOT {
        return pair.slot;
    }
    store!(pair.slot, NO_SLOT); // others that read meanwhile look for themselves
    let slot = find(ctx, tun, queue);
    store!(pair.tun, tun);
    store!(pair.queue, queue);
    store!(pair.epoch, epoch);
    store!(pair.slot, slot);
    slot
}

/// Likewise, on a thread that is not the worker's.
#[inline(always)]
pub(crate) fn slot_elsewhere<C: EbpfContext>(ctx: &C, pair: &Pair, socket: u64) -> u32 {
    if socket == 0 {
        return pair.slot; // without a backend, of the one that it had
    }
    let file = file_of(socket);
    let (Some(tun), Some(queue)) =
        (probe!(file as Kernel, tun_file_tun: u64), probe!(file as Kernel, tun_file_queue_index: u16))
    else {
        return NO_SLOT;
    };
    let (queue, epoch) = (u32::from(queue), slots::now());
    // SAFETY: words of a map value that another CPU may write.
    let read = |word: *const u32| unsafe { core::ptr::read_volatile(word) };
    let slot = read(&raw const pair.slot);
    let same = pair.file == file && pair.tun == tun && read(&raw const pair.queue) == queue;
    if slot != NO_SLOT && same && pair.epoch == epoch && epoch != 0 && read(&raw const pair.slot) == slot {
        return slot;
    }
    if is_tun(socket) == Some(true) { find(ctx, tun, queue) } else { NO_SLOT }
}

/// A virtqueue is given a backend, or none (`vhost_vq_init_access(virtqueue)`), or one of another kind of vhost device is.
#[inline(always)]
pub(crate) fn given<C: EbpfContext>(ctx: &C, queue: Kernel) {
    let Some(handler) = probe!(queue, vq_handle_kick: u64) else { return };
    let Some(transmit) = signal::direction(handler) else { return };
    let (Some(dev), Some(socket)) = (probe!(queue, vq_dev: u64), probe!(queue, vq_private_data: u64)) else {
        return;
    };
    let Some((_, pair)) = of(dev) else { return };
    store!(pair.backends[usize::from(transmit)], socket);
    if socket != 0 {
        backend(ctx, pair, socket);
    }
}

#[inline(always)]
fn find<C: EbpfContext>(ctx: &C, tun: u64, queue: u32) -> u32 {
    if tun == 0 {
        return NO_SLOT; // attached to no device
    }
    let Some(dev) = probe!(tun as Kernel, tun_dev: Kernel) else { return NO_SLOT };
    slots::find_probed(ctx, dev, queue).unwrap_or(NO_SLOT)
}

/// The vhost device at this address is torn down; another one may come there.
#[inline(always)]
pub(crate) fn forget(dev: u64) {
    // SAFETY: as above.
    let Some(number) = (unsafe { DEVICES.get(dev) }).copied() else { return };
    let _ = DEVICES.remove(dev);
    if let Some(pair) = at(number) {
        if pair.tid != 0 {
            let _ = WORKERS.remove(pair.tid);
        }
        store!(pair.state, state::CLOSED);
    }
}
