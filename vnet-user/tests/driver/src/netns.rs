//! A network namespace of one's own, without a name: nothing stays behind, however a test ends.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

use crate::sys;

/// A namespace that a thread of this process lives in until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    inode: u64,
    // Dropping the sender ends the thread; the namespace goes with it and with the last socket or tap inside.
    leave: Option<mpsc::Sender<()>>,
    dweller: Option<JoinHandle<()>>,
}

impl Netns {
    /// Makes one, with IPv6 off so that the kernel itself sends nothing.
    pub fn new() -> Result<Self> {
        let (leave, left) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let dweller = thread::Builder::new().name("netns".into()).spawn(move || {
            let made = sys::unshare_net().and_then(|()| {
                for scope in ["all", "default"] {
                    let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
                    match std::fs::write(path, "1") {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                        _ => {}
                    }
                }
                sys::own_net()
            });
            let stay = made.is_ok();
            if tell.send(made).is_ok() && stay {
                let _ended = left.recv();
            }
        })?;
        let file = told.recv()?.context("cannot make a network namespace (needs CAP_SYS_ADMIN)")?;
        let inode = file.metadata()?.ino();
        Ok(Self(Arc::new(Inner { file, inode, leave: Some(leave), dweller: Some(dweller) })))
    }

    /// The one that this thread is in.
    pub fn current() -> Result<Self> {
        let file = sys::own_net().context("cannot open the own network namespace")?;
        let inode = file.metadata()?.ino();
        Ok(Self(Arc::new(Inner { file, inode, leave: None, dweller: None })))
    }

    /// Its inode number, which is how vnet names it.
    pub fn inode(&self) -> u64 {
        self.0.inode
    }

    /// Runs `work` on a thread inside the namespace. Sockets and taps opened there belong to it for good.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                sys::enter_net(self.as_fd()).context("cannot enter the network namespace")?;
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.leave.take();
        if let Some(dweller) = self.dweller.take() {
            let _panicked = dweller.join();
        }
    }
}
