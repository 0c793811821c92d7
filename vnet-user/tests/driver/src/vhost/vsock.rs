//! Another user of vhost: the vsock device of a guest, whose workers and rings are no network's.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};

use super::{
    Config,
    device::{Device, VERSION_1},
    memory::Memory,
    queue::Queue,
    ring::Part,
    script::{Kick, Side},
};

/// Bytes of `struct virtio_vsock_hdr`.
const HEADER: usize = 44;

/// A running vsock device (drivers/vhost/vsock.c); its rings have the indexes of a network device's.
#[derive(Debug)]
pub struct Vsock {
    tx: Queue,
    rx: Queue,
    memory: Arc<Memory>,
    _device: Device,
}

impl Vsock {
    /// Opens `/dev/vhost-vsock` for a guest with address `cid`, and starts it.
    pub fn new(cid: u64) -> Result<Self> {
        let device = Device::open_vsock().context("cannot open /dev/vhost-vsock (module vhost_vsock)")?;
        device.set_owner().context("VHOST_SET_OWNER")?;
        device.set_cid(cid).context("VHOST_VSOCK_SET_GUEST_CID")?;
        device.set_features(VERSION_1).context("VHOST_SET_FEATURES")?;
        let memory = Arc::new(Memory::new(1 << 20)?);
        device.set_memory(&memory).context("VHOST_SET_MEM_TABLE")?;
        let config = Config { ring: 64, ..Config::default() };
        let (tx, rx) = (Queue::new(&memory, Side::Tx, &config)?, Queue::new(&memory, Side::Rx, &config)?);
        for queue in [&rx, &tx] {
            queue.set_up(&device, &memory, false).context("cannot set up a vring")?;
        }
        device.set_running().context("VHOST_VSOCK_SET_RUNNING")?;
        Ok(Self { tx, rx, memory, _device: device })
    }

    /// The guest sends `count` packets that vsock throws away, one kick each, and waits until they have come back.
    pub fn send(&mut self, count: u64) -> Result<()> {
        let at = self.memory.take(HEADER)?;
        let deadline = Instant::now() + Config::default().patience;
        for _ in 0..count {
            let part = Part { at, len: u32::try_from(HEADER)? };
            self.tx.add(&[part]).context("the ring has no room")?;
            self.tx.ring.publish();
            self.tx.kick(Kick::Always)?;
            self.rx.kick(Kick::Always)?;
            while self.tx.pop()?.is_none() {
                ensure!(Instant::now() < deadline, "it does not come back: {}", self.tx.describe());
                self.tx.sleep()?;
            }
        }
        Ok(())
    }
}
