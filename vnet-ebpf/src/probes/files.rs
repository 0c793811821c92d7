//! What the open files of all processes say: which queue of which tap a file is, which one a vhost device serves and by
//! which thread, and who holds devices that no probe sees.

use aya_ebpf::helpers::generated::bpf_seq_write;
use vnet_ebpf::{
    files::{OpenFile, RECORD, TUN, VHOST_NET, flag, numbers},
    offsets::ABSENT,
};

use super::{
    Kernel, direct, offset, probe,
    slots::{ETHER, Identity},
    vhost::{
        pair::{file_of, is_tun},
        virtqueue,
    },
};

/// `S_IFMT` and `S_IFCHR`.
const FORMAT: u16 = 0o170_000;
const CHARACTER: u16 = 0o020_000;

/// Writes a record of a file that is a device of interest.
#[inline(always)]
pub(crate) fn look(meta: Kernel, task: Kernel, file: Kernel) {
    if task.is_null() || file.is_null() {
        return; // the end of the walk
    }
    let inode: Kernel = direct!(file, file_inode: Kernel);
    if direct!(inode, inode_mode: u16) & FORMAT != CHARACTER {
        return;
    }
    let (device, object) = (direct!(inode, inode_rdev: u32), direct!(file, file_private: u64));
    // One that was opened as a path only (`O_PATH`) is nothing to its driver.
    if object == 0 || !is_wanted(device) {
        return;
    }
    let mut found = OpenFile { object, device, holder: direct!(task, task_tgid: u32), ..OpenFile::default() };
    match device {
        VHOST_NET => of_vhost(&mut found),
        TUN => of_queue(&mut found, object),
        _ => {}
    }
    let output: Kernel = direct!(meta, iter_seq: Kernel);
    // SAFETY: the record is whole. What has no room is asked for again.
    unsafe { bpf_seq_write(output.cast_mut().cast(), (&raw const found).cast(), RECORD as u32) };
}

/// Devices whose driver has a number of its own (`MISC_MAJOR`), or one that was given as it was loaded.
#[inline(always)]
fn is_wanted(device: u32) -> bool {
    matches!(numbers(device).0, 10 | 234..=254 | 384..=511)
}

/// What a vhost device serves, how and by whom.
#[inline(always)]
fn of_vhost(found: &mut OpenFile) {
    if offset!(net_vqs) == ABSENT {
        return;
    }
    let (receive, transmit) = (virtqueue(found.object, false), virtqueue(found.object, true));
    let backend = |queue: Kernel| probe!(queue, vq_private_data: u64).filter(|socket| *socket != 0);
    if let Some(socket) = backend(receive).or_else(|| backend(transmit))
        && is_tun(socket) == Some(true)
    {
        of_queue(found, file_of(socket));
    }
    if offset!(nvq_ubufs) != ABSENT
        && let Some(references) = probe!(transmit, nvq_ubufs: u64)
    {
        found.flags |= flag::MODE | if references == 0 { 0 } else { flag::ZEROCOPY };
    }
    if let Some(task) = worker(found.object, receive)
        && let (Some(tid), Some(tgid)) = (probe!(task, task_pid: u32), probe!(task, task_tgid: u32))
    {
        (found.tid, found.tgid) = (tid, tgid);
    }
}

/// The task that serves a virtqueue.
#[inline(always)]
fn worker(dev: u64, queue: Kernel) -> Option<Kernel> {
    let worker = if offset!(vq_worker) != ABSENT {
        probe!(queue, vq_worker: Kernel)?
    } else if offset!(dev_worker) != ABSENT {
        probe!(dev as Kernel, dev_worker: Kernel)?
    } else {
        return None;
    };
    if worker.is_null() || offset!(worker_vtsk) == ABSENT {
        return present(worker);
    }
    if offset!(worker_kthread) != ABSENT
        && let Some(task) = present(probe!(worker, worker_kthread: Kernel)?)
    {
        return Some(task);
    }
    let around = present(probe!(worker, worker_vtsk: Kernel)?)?;
    if offset!(vtsk_task) == ABSENT {
        return None;
    }
    present(probe!(around, vtsk_task: Kernel)?)
}

#[inline(always)]
fn present(pointer: Kernel) -> Option<Kernel> {
    (!pointer.is_null()).then_some(pointer)
}

/// The tap and the index of a queue, by its `tun_file`.
#[inline(always)]
fn of_queue(found: &mut OpenFile, file: u64) {
    if offset!(tun_file_tun) == ABSENT || offset!(tun_file_detached) == ABSENT || offset!(tun_dev) == ABSENT {
        return;
    }
    found.queue_file = file;
    let file = file as Kernel;
    let (Some(attached), Some(disabled), Some(queue)) = (
        probe!(file, tun_file_tun: Kernel),
        probe!(file, tun_file_detached: Kernel),
        probe!(file, tun_file_queue_index: u16),
    ) else {
        return;
    };
    let Some(tun) = present(attached).or_else(|| present(disabled)) else { return };
    if attached.is_null() {
        found.flags |= flag::DISABLED;
    }
    let Some(dev) = probe!(tun, tun_dev: Kernel) else { return };
    // One of IP packets is no guest's.
    if probe!(dev, dev_type: u16) != Some(ETHER) {
        return;
    }
    let (Some(id), Some(name)) = (Identity::probed(dev), probe!(dev, dev_name: [u8; 16])) else { return };
    found.instance = id.instance;
    (found.netns, found.ifindex, found.queue, found.name) = (id.netns, id.ifindex, u32::from(queue), name);
}
