//! A network namespace of one's own, without a name: nothing stays behind, however a test ends.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

use crate::sys;

/// A namespace that somebody lives in until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    inode: u64,
    _dweller: Dweller,
}

/// Who keeps the namespace; it goes with them and with the last socket or tap inside.
#[derive(Debug)]
enum Dweller {
    /// Somebody else.
    Nobody,
    /// A thread, until the sender is dropped.
    Thread(Option<mpsc::Sender<()>>, Option<JoinHandle<()>>),
    /// A process that ends with its standard input: however this process ends, that one does too.
    Process(Child),
}

impl Netns {
    /// Makes one that a process lives in, as guests' namespaces are; with IPv6 off, so that the kernel sends nothing by
    /// itself.
    pub fn new() -> Result<Self> {
        let dwelling = Self::of_thread()?;
        let process = dwelling.run(|| {
            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            cat.spawn().context("cannot start cat, which is to live in the namespace")
        })?;
        let file = File::from(dwelling.as_fd().try_clone_to_owned()?);
        Ok(Self(Arc::new(Inner { file, inode: dwelling.inode(), _dweller: Dweller::Process(process) })))
    }

    /// Makes one that only a thread of this process lives in: harder to find.
    pub fn of_thread() -> Result<Self> {
        let (leave, left) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().name("netns".into()).spawn(move || {
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
        Ok(Self(Arc::new(Inner { file, inode, _dweller: Dweller::Thread(Some(leave), Some(thread)) })))
    }

    /// The one that this thread is in.
    pub fn current() -> Result<Self> {
        let file = sys::own_net().context("cannot open the own network namespace")?;
        let inode = file.metadata()?.ino();
        Ok(Self(Arc::new(Inner { file, inode, _dweller: Dweller::Nobody })))
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

impl Drop for Dweller {
    fn drop(&mut self) {
        match self {
            Self::Nobody => {}
            Self::Thread(leave, thread) => {
                leave.take();
                if let Some(thread) = thread.take() {
                    let _panicked = thread.join();
                }
            }
            Self::Process(process) => {
                process.stdin.take();
                let _reaped = process.wait();
            }
        }
    }
}
