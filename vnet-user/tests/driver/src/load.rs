//! Traffic in both directions of a tap, queue by queue, each queue on threads of its own.

use std::{io, os::fd::AsFd};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    frame::{Frame, Gso, LARGEST},
    host::Sender,
    tap::{QueueFile, Tap},
    truth::{Flow, Ledger},
};

/// Frame lengths at which vnet's size classes end, and a length outside: every edge is met from both sides.
pub const EDGES: [usize; 7] = [64, 128, 256, 512, 1024, 1518, 4096];

/// The frames that a load repeats, in each direction.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    /// What the guest sends.
    pub tx: Vec<Frame>,
    /// What it is sent.
    pub rx: Vec<Frame>,
}

impl Mix {
    /// The same frames both ways.
    pub fn same(frames: &[Frame]) -> Self {
        Self { tx: frames.to_vec(), rx: frames.to_vec() }
    }

    /// Everything that a guest can send and be sent, in a fixed order.
    ///
    /// A guest may send the largest packet that IPv4 describes; the host cuts up what is not shorter than the device's
    /// `gso_max_size` (65536), so it is sent the largest below that.
    pub fn everything() -> Self {
        let mut rx = every_length();
        rx.extend(Gso::ALL.map(|kind| Frame::gso(kind, 65_535, 1448)));
        let mut tx = every_length();
        tx.extend(Gso::ALL.map(|kind| Frame::gso(kind, LARGEST, 1448)));
        Self { tx, rx }
    }
}

fn every_length() -> Vec<Frame> {
    let mut frames = vec![Frame::plain(60), Frame::plain(14)];
    for edge in EDGES {
        frames.extend([Frame::plain(edge), Frame::plain(edge + 1)]);
    }
    frames.extend([Frame::udp(300, 7), Frame::plain(1000).tagged(5)]);
    for kind in Gso::ALL {
        let headers = kind.headers();
        frames.extend([
            Frame::gso(kind, headers + 2 * 1448, 1448),
            Frame::gso(kind, headers + 2 * 1448 + 1, 1448),
        ]);
    }
    frames.push(Frame::gso(Gso::Tcp4, 54 + 1000, 100).tagged(9));
    frames
}

/// How many packets in which direction through one queue file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The guest sends so many.
    pub tx: u64,
    /// The host sends the guest so many.
    pub rx: u64,
}

/// The guest sends `count` packets through `file`, `frames` over and over.
pub fn transmit(file: &QueueFile, frames: &[Frame], count: u64) -> Result<Flow> {
    let mut flow = Flow::default();
    for frame in frames.iter().cycle().zip(0..count).map(|(frame, _)| frame) {
        file.transmit(frame).with_context(|| format!("cannot write a frame of {} bytes", frame.len()))?;
        flow.add(frame.len(), frame.segments(), 1);
    }
    Ok(flow)
}

/// The host sends `count` packets, `frames` over and over; how many reached the device.
pub fn send(sender: &Sender, frames: &[Frame], count: u64) -> Result<u64> {
    for frame in frames.iter().cycle().zip(0..count).map(|(frame, _)| frame) {
        sender.send(frame).with_context(|| format!("cannot send a frame of {} bytes", frame.len()))?;
    }
    Ok(count)
}

/// Reads everything that waits in `file` now.
pub fn drain(file: &QueueFile, flow: &mut Flow) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 17];
    while let Some((len, segments)) = file.receive(&mut buffer)? {
        flow.add(len, segments, 1);
    }
    Ok(())
}

/// Reads `file` until the other end of `stop` is closed and nothing waits any more.
fn read_until(file: &QueueFile, stop: &io::PipeReader) -> Result<Flow> {
    let mut flow = Flow::default();
    loop {
        let mut ready =
            [PollFd::new(file, PollFlags::IN), PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::empty())];
        poll(&mut ready, None)?;
        let stopped = ready[1].revents().contains(PollFlags::HUP);
        drain(file, &mut flow)?;
        if stopped {
            return Ok(flow);
        }
    }
}

/// Drives both directions of all attached queues of `tap` at once; `shares[i]` is for queue file `i`.
///
/// The tap must be steered by address. What the ring had no room for is counted as `FULL_RING`.
pub fn both(tap: &Tap, mix: &Mix, shares: &[Share], ledger: &mut Ledger) -> Result<()> {
    let files = tap.files();
    if shares.len() != files.len() {
        bail!("{} shares for {} queue files", shares.len(), files.len());
    }
    let (stop, go_on) = io::pipe()?;
    let stop = &stop;
    std::thread::scope(|scope| {
        // Owned here, so that a failure below ends the readers too.
        let go_on = go_on;
        let readers: Vec<_> = files.iter().map(|file| scope.spawn(|| read_until(file, stop))).collect();
        let writers: Vec<_> = files
            .iter()
            .zip(shares)
            .map(|(file, share)| scope.spawn(|| transmit(file, &mix.tx, share.tx)))
            .collect();
        let senders: Vec<_> = files
            .iter()
            .zip(shares)
            .filter(|(file, _)| file.is_attached())
            .map(|(file, share)| {
                let index = u8::try_from(file.index()).context("at most 256 queues")?;
                let frames: Vec<_> = mix.rx.iter().cloned().map(|frame| frame.to(index)).collect();
                let sender = Sender::open(&tap.netns, tap.ifindex)?;
                Ok((file.index(), scope.spawn(move || send(&sender, &frames, share.rx))))
            })
            .collect::<Result<_>>()?;
        for (file, writer) in files.iter().zip(writers) {
            ledger.tx(tap.key(file.index()), join(writer)?);
        }
        let mut sent = vec![0; files.len()];
        for (index, sender) in senders {
            sent[usize::from(index)] += join(sender)?;
        }
        drop(go_on);
        for (file, reader) in files.iter().zip(readers) {
            let mut flow = join(reader)?;
            if !file.is_attached() {
                if flow != Flow::default() {
                    bail!("a detached queue was given packets: {flow:?}");
                }
                continue;
            }
            let lost = sent[usize::from(file.index())].checked_sub(flow.packets());
            flow.add_drops("FULL_RING", lost.context("more packets were read than sent")?);
            ledger.rx(tap.key(file.index()), flow);
        }
        Ok(())
    })
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
