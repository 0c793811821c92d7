//! A host that does not let go of what a guest sends, until it is told to.

use anyhow::{Context, Result};

use crate::{bpf::Program, link::Links, tap::Tap};

/// Sends all that comes from a tap out of a device that holds it. The packets stay the tap's: they count for its send
/// buffer, and those without a copy stay in flight. Lets go of them when dropped.
#[derive(Debug)]
pub struct Hold {
    links: Links,
    device: u32,
}

impl Hold {
    /// Holds what comes from `tap` from now on.
    pub fn new(tap: &Tap) -> Result<Self> {
        let links = Links::open(&tap.netns)?;
        let (device, peer) = links.add_veth("hold", "held").context("cannot make a veth pair")?;
        for end in [device, peer] {
            links.set_mtu(end, 65_535)?;
            links.up(end)?;
        }
        links.carries(device)?;
        links.plug(device, true)?;
        links.classify(tap.ifindex, &Program::redirect(device)?)?;
        Ok(Self { links, device })
    }

    /// Lets go of what is held, and of all that comes.
    pub fn release(&self) -> Result<()> {
        self.links.plug(self.device, false)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _best_effort = self.links.delete(self.device);
    }
}
