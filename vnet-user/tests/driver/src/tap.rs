//! Taps and their queue files.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, IoSliceMut, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    sync::atomic::{AtomicBool, AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    bpf::Program,
    frame::{self, Frame},
    link::Links,
    netns::Netns,
    sys::{self, TunInt},
    truth,
};

/// How a device is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name.
    pub name: String,
    /// Queue files.
    pub queues: u16,
    /// Interface index; the kernel's choice when `None`.
    pub ifindex: Option<u32>,
    /// Received packets go through NAPI (`IFF_NAPI`).
    pub napi: bool,
    /// IP packets instead of frames (`IFF_TUN`).
    pub tun: bool,
    /// The guest takes TSO and USO packets unsegmented.
    pub offload: bool,
    /// Bytes of the vnet header.
    pub vnet_header: usize,
}

impl Config {
    /// A multi-queue tap with offloads and a 12-byte vnet header.
    pub fn new(name: &str, queues: u16) -> Self {
        Self {
            name: name.into(),
            queues,
            ifindex: None,
            napi: false,
            tun: false,
            offload: true,
            vnet_header: 12,
        }
    }
}

/// A tap; removed when dropped.
#[derive(Debug)]
pub struct Tap {
    /// Its namespace.
    pub netns: Netns,
    /// Its interface index.
    pub ifindex: u32,
    /// Which device it is under its index, see [`truth::Queue`].
    pub generation: u32,
    files: Vec<QueueFile>,
}

/// One queue file.
#[derive(Debug)]
pub struct QueueFile {
    file: File,
    header: usize,
    index: AtomicU16,
    attached: AtomicBool,
}

impl Tap {
    /// Makes the device in `netns`, up, with an MTU that lets every frame length pass.
    pub fn new(netns: &Netns, config: &Config) -> Result<Self> {
        let files = netns
            .run(|| {
                (0..config.queues).map(|index| QueueFile::open(config, index)).collect::<Result<Vec<_>>>()
            })
            .with_context(|| format!("cannot make tap {}", config.name))?;
        let links = Links::open(netns)?;
        let ifindex = links.index(&config.name)?;
        if !config.tun {
            links.set_mtu(ifindex, 65_521)?;
        }
        links.up(ifindex)?;
        Ok(Self { netns: netns.clone(), ifindex, generation: 0, files })
    }

    /// Ends as a guest's monitor does: its files are closed, and the device goes with the last.
    pub fn close(mut self) -> Result<()> {
        self.files.clear();
        let links = Links::open(&self.netns)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        // A process that some other thread starts holds copies of the files until it is itself.
        while links.stats(self.ifindex).is_ok() {
            ensure!(Instant::now() < deadline, "the tap outlives its files");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Queue files, in the order they were opened.
    pub fn files(&self) -> &[QueueFile] {
        &self.files
    }

    /// The key of the pair with index `queue`.
    pub fn key(&self, queue: u16) -> truth::Queue {
        truth::Queue { netns: self.netns.inode(), ifindex: self.ifindex, generation: self.generation, queue }
    }

    /// The queue is the last byte of the destination address from now on.
    pub fn steer_by_address(&self) -> Result<()> {
        let program = Program::steer_by_address().context("cannot load the steering program")?;
        self.set_program(TunInt::Steering, Some(&program)).context("TUNSETSTEERINGEBPF")
    }

    /// Limits what the host may hold of the guest's packets, on all attached queues (`i32::MAX`: no limit, as at first).
    pub fn send_buffer(&self, bytes: i32) -> Result<()> {
        sys::set_int(self.files[0].file.as_fd(), TunInt::SendBuffer, bytes).context("TUNSETSNDBUF")
    }

    /// Keeps `bytes` of each packet to the guest (0: drops it, `TAP_FILTER`); `None` keeps all.
    pub fn filter(&self, bytes: Option<u32>) -> Result<()> {
        let program = bytes.map(Program::keep).transpose()?;
        self.set_program(TunInt::Filter, program.as_ref()).context("TUNSETFILTEREBPF")
    }

    /// The guest takes frames to `address` only (others: `TAP_TXFILTER`); `None` takes all.
    pub fn address_filter(&self, address: Option<[u8; 6]>) -> Result<()> {
        sys::set_tx_filter(self.files[0].file.as_fd(), address).context("TUNSETTXFILTER")
    }

    /// Detaches one queue file. As in the kernel, the last attached queue takes over its index, and it keeps its own
    /// stale one.
    pub fn detach(&self, file: usize) -> Result<()> {
        let leaving = &self.files[file];
        sys::set_queue(leaving.file.as_fd(), false).context("cannot detach the queue")?;
        let last = self.enabled() - 1;
        leaving.attached.store(false, Ordering::SeqCst);
        if let Some(moved) = self.files.iter().find(|f| f.is_attached() && f.index() == last) {
            moved.index.store(leaving.index(), Ordering::SeqCst);
        }
        Ok(())
    }

    /// Attaches a detached queue file again: it becomes the last.
    pub fn attach(&self, file: usize) -> Result<()> {
        let joining = &self.files[file];
        let index = self.enabled();
        sys::set_queue(joining.file.as_fd(), true).context("cannot attach the queue")?;
        joining.index.store(index, Ordering::SeqCst);
        joining.attached.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Attached queue files.
    ///
    /// # Panics
    /// Never: a tap has at most 256.
    pub fn enabled(&self) -> u16 {
        u16::try_from(self.files.iter().filter(|f| f.is_attached()).count()).expect("at most 256")
    }

    fn set_program(&self, which: TunInt, program: Option<&Program>) -> io::Result<()> {
        let fd = program.map_or(-1, |p| p.as_fd().as_raw_fd());
        sys::set_int(self.files[0].file.as_fd(), which, fd)
    }
}

impl Drop for Tap {
    /// Removes the device at once, whoever else holds copies of its files for a moment.
    fn drop(&mut self) {
        let _gone_already = Links::open(&self.netns).and_then(|links| links.delete(self.ifindex));
    }
}

impl QueueFile {
    fn open(config: &Config, index: u16) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .context("cannot open /dev/net/tun")?;
        if let (0, Some(ifindex)) = (index, config.ifindex) {
            sys::set_int(file.as_fd(), TunInt::IfIndex, i32::try_from(ifindex)?).context("TUNSETIFINDEX")?;
        }
        let mut flags = libc::IFF_VNET_HDR | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE;
        flags |= if config.tun { libc::IFF_TUN } else { libc::IFF_TAP };
        if config.napi {
            flags |= libc::IFF_NAPI;
        }
        sys::set_iff(file.as_fd(), &config.name, flags).context("TUNSETIFF")?;
        sys::set_int(file.as_fd(), TunInt::VnetHeader, i32::try_from(config.vnet_header)?)
            .context("TUNSETVNETHDRSZ")?;
        if config.offload {
            let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
            // USO is younger (6.2) than the rest; without it the kernel cuts UDP up before the tap.
            sys::set_offload(file.as_fd(), offload | libc::TUN_F_USO4 | libc::TUN_F_USO6)
                .or_else(|_| sys::set_offload(file.as_fd(), offload))
                .context("TUNSETOFFLOAD")?;
        }
        Ok(Self {
            file,
            header: config.vnet_header,
            index: AtomicU16::new(index),
            attached: AtomicBool::new(true),
        })
    }

    /// A queue of a macvtap, whose device exists already.
    pub(crate) fn of_macvtap(file: File) -> Result<Self> {
        let header = 12;
        sys::set_iff(file.as_fd(), "", libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR)
            .context("TUNSETIFF of a macvtap")?;
        sys::set_int(file.as_fd(), TunInt::VnetHeader, i32::try_from(header)?).context("TUNSETVNETHDRSZ")?;
        Ok(Self { file, header, index: AtomicU16::new(0), attached: AtomicBool::new(true) })
    }

    /// Index that packets written here carry.
    pub fn index(&self) -> u16 {
        self.index.load(Ordering::SeqCst)
    }

    /// False while detached.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::SeqCst)
    }

    /// The guest transmits `frame`.
    pub fn transmit(&self, frame: &Frame) -> io::Result<()> {
        let padding = [0; 16];
        let parts = [
            IoSlice::new(frame.vnet()),
            IoSlice::new(&padding[..self.header - frame::HEADER]),
            IoSlice::new(frame.data()),
        ];
        let written = (&self.file).write_vectored(&parts)?;
        let whole = self.header + frame.data().len();
        if written == whole { Ok(()) } else { Err(io::Error::other(format!("{written} of {whole} written"))) }
    }

    /// The guest takes the next packet into `buffer`; its frame bytes and segments, or `None` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(u32, u64)>> {
        let (mut vnet, mut padding) = ([0; frame::HEADER], [0; 16]);
        let padding = &mut padding[..self.header - frame::HEADER];
        let mut parts = [IoSliceMut::new(&mut vnet), IoSliceMut::new(padding), IoSliceMut::new(buffer)];
        match (&self.file).read_vectored(&mut parts) {
            Ok(read) => {
                let data = &buffer[..read - self.header];
                Ok(Some((u32::try_from(data.len()).map_err(io::Error::other)?, frame::segments(&vnet, data))))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl AsFd for QueueFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
