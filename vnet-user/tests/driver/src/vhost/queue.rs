//! One direction of a pair: its ring and its eventfds.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
};

use super::{
    Config,
    device::{Device, Event},
    memory::Memory,
    ring::{Part, Ring, Used},
    script::{Kick, Side, UsedEvent},
    truth::Events,
};

/// How long to sleep before looking at the used index again: a call may never come.
const MOMENT: Duration = Duration::from_millis(1);

/// A ring with its eventfds and counts.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) ring: Ring,
    pub(super) events: Events,
    side: Side,
    kick: OwnedFd,
    call: OwnedFd,
    error: OwnedFd,
    /// Kept after every take-back; `None` without `EVENT_IDX`.
    event: Option<UsedEvent>,
}

impl Queue {
    pub(super) fn new(memory: &Arc<Memory>, side: Side, config: &Config) -> Result<Self> {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self {
            ring: Ring::new(memory, config.ring, config.event_idx, config.indirect)?,
            events: Events::default(),
            side,
            kick: event()?,
            call: event()?,
            error: event()?,
            event: config.event_idx.then_some(UsedEvent::Next),
        })
    }

    /// Its call eventfd, again.
    pub(super) fn call(&self) -> io::Result<OwnedFd> {
        self.call.try_clone()
    }

    /// Its kick eventfd likewise.
    pub(super) fn doorbell(&self) -> io::Result<OwnedFd> {
        self.kick.try_clone()
    }

    /// Gives the ring and the eventfds to the device.
    pub(super) fn set_up(&self, device: &Device, memory: &Memory, log: bool) -> io::Result<()> {
        let index = self.side as u32;
        // As monitors do: a kick that is left over from the device before would wake this one's worker.
        drain(&self.kick)?;
        device.set_ring(index, memory, &self.ring.layout(), log)?;
        device.set_base(index, 0)?;
        for (event, fd) in [(Event::Call, &self.call), (Event::Error, &self.error), (Event::Kick, &self.kick)]
        {
            device.set_event(index, event, fd.as_fd())?;
        }
        Ok(())
    }

    /// Adds a chain, or says that there is no room.
    pub(super) fn add(&mut self, parts: &[Part]) -> Option<u16> {
        let head = self.ring.add(parts, self.side == Side::Rx)?;
        self.events.heads += 1;
        self.events.descriptors += parts.len() as u64;
        Some(head)
    }

    /// Kicks; whether it did.
    pub(super) fn kick(&mut self, how: Kick) -> io::Result<bool> {
        let wanted = self.ring.kick_needed();
        if wanted || how == Kick::Always {
            rustix::io::write(&self.kick, &1_u64.to_ne_bytes())?;
            self.events.kicks += 1;
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes back the next chain.
    pub(super) fn pop(&mut self) -> Result<Option<Used>> {
        let used = self.ring.pop()?;
        self.events.used += u64::from(used.is_some());
        Ok(used)
    }

    /// Adds up what the eventfds have counted.
    pub(super) fn count_calls(&mut self) -> io::Result<()> {
        self.events.calls += drain(&self.call)?;
        self.events.errors += drain(&self.error)?;
        Ok(())
    }

    /// Asks for the next call, as a driver does when it has taken back everything.
    pub(super) fn rearm(&self) {
        if let Some(event @ (UsedEvent::Next | UsedEvent::Never)) = self.event {
            self.ring.set_used_event(self.event_index(event));
        }
    }

    pub(super) fn set_event(&mut self, event: UsedEvent) -> Result<()> {
        ensure!(self.event.is_some(), "used_event without EVENT_IDX");
        self.event = Some(event);
        self.ring.set_used_event(self.event_index(event));
        Ok(())
    }

    pub(super) fn set_interrupts(&self, wanted: bool) -> Result<()> {
        ensure!(self.event.is_none(), "VRING_AVAIL_F_NO_INTERRUPT means nothing with EVENT_IDX");
        self.ring.set_interrupts(wanted);
        Ok(())
    }

    /// Returns when the device calls, or a moment later.
    pub(super) fn sleep(&self) -> io::Result<()> {
        let mut ready = [PollFd::new(&self.call, PollFlags::IN)];
        poll(&mut ready, Some(&MOMENT.try_into().map_err(io::Error::other)?))?;
        Ok(())
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        format!(
            "{:?}: available {}, used {}, taken back {}, {:?}",
            self.side,
            self.ring.next(),
            self.ring.used_idx(),
            self.ring.seen(),
            self.events
        )
    }

    fn event_index(&self, event: UsedEvent) -> u16 {
        let seen = self.ring.seen();
        match event {
            UsedEvent::Next => seen,
            UsedEvent::After(more) => seen.wrapping_add(more).wrapping_sub(1),
            UsedEvent::Never => seen.wrapping_add(0x8000),
        }
    }
}

fn drain(eventfd: &OwnedFd) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match rustix::io::read(eventfd, &mut bytes) {
        Ok(_) => Ok(u64::from_ne_bytes(bytes)),
        Err(Errno::AGAIN) => Ok(0),
        Err(e) => Err(e.into()),
    }
}
