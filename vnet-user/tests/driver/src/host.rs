//! The host's stack: frames sent out through a device, which a tap hands to its guest.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
};

use anyhow::{Context, Result};

use crate::{frame::Frame, netns::Netns, sys};

/// Sends frames through one device, by way of its qdisc as any sender of the host does.
#[derive(Debug)]
pub struct Sender(File);

impl Sender {
    /// Opens one in `netns`.
    pub fn open(netns: &Netns, ifindex: u32) -> Result<Self> {
        let socket = netns
            .run(|| Ok(sys::packet_socket(ifindex, true)?))
            .with_context(|| format!("cannot open a packet socket on interface {ifindex}"))?;
        Ok(Self(socket.into()))
    }

    /// Sends `frame`; an error means that it never reached the device.
    pub fn send(&self, frame: &Frame) -> io::Result<()> {
        // A packet socket takes the plain 10-byte header.
        (&self.0).write_vectored(&[IoSlice::new(frame.vnet()), IoSlice::new(frame.data())]).map(drop)
    }
}
