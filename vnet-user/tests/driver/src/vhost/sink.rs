//! A program of the host that reads what guests send.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};

use crate::{netns::Netns, sys};

/// Reads packets of [`crate::frame::Frame::plain`]'s ethertype from a device on a thread, until dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    packets: Arc<AtomicU64>,
    stop: Option<io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts it.
    pub(super) fn start(netns: &Netns, ifindex: u32) -> Result<Self> {
        let socket: File = netns
            .run(|| Ok(sys::packet_receiver(ifindex, 0x88b5)?))
            .context("cannot open a packet socket to receive")?
            .into();
        let (stopped, stop) = io::pipe()?;
        let packets = Arc::new(AtomicU64::new(0));
        let count = packets.clone();
        let thread = thread::Builder::new().name("receiver".into()).spawn(move || {
            let mut buffer = vec![0; 1 << 17];
            loop {
                let mut ready = [
                    PollFd::new(&socket, PollFlags::IN),
                    PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::empty()),
                ];
                if poll(&mut ready, None).is_err() || ready[1].revents().contains(PollFlags::HUP) {
                    return;
                }
                while (&socket).read(&mut buffer).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Self { packets, stop: Some(stop), thread: Some(thread) })
    }

    /// Packets read.
    pub(super) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
