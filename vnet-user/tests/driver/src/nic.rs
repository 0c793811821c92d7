//! What a virtio NIC's own driver counted per queue: netdev qstats where the kernel has them, else `ethtool -S`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::ethtool;

/// One queue's counters, in the NIC's direction, which is the guest's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent and completed.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
}

impl Counters {
    /// What was added since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            tx_packets: self.tx_packets - before.tx_packets,
            tx_bytes: self.tx_bytes - before.tx_bytes,
            rx_packets: self.rx_packets - before.rx_packets,
            rx_bytes: self.rx_bytes - before.rx_bytes,
        }
    }
}

/// Counters by queue, and where they come from.
pub fn counters(name: &str, ifindex: u32) -> Result<(BTreeMap<u16, Counters>, &'static str)> {
    match qstats(ifindex) {
        Ok(counters) if !counters.is_empty() => Ok((counters, "netdev qstats")),
        _ => Ok((statistics(name)?, "ethtool -S")),
    }
}

fn statistics(name: &str) -> Result<BTreeMap<u16, Counters>> {
    let mut queues = BTreeMap::<u16, Counters>::new();
    for (key, value) in ethtool::statistics(name).context("ethtool -S")? {
        // rx_queue_0_packets
        let parts: Vec<_> = key.split('_').collect();
        let [side, "queue", queue, what] = parts[..] else { continue };
        let Ok(queue) = queue.parse() else { continue };
        let counters = queues.entry(queue).or_default();
        match (side, what) {
            ("tx", "packets") => counters.tx_packets = value,
            ("tx", "bytes") => counters.tx_bytes = value,
            ("rx", "packets") => counters.rx_packets = value,
            ("rx", "bytes") => counters.rx_bytes = value,
            _ => {}
        }
    }
    if queues.is_empty() {
        bail!("the driver of {name} tells no counters per queue");
    }
    Ok(queues)
}

const GET_FAMILY: u8 = 3;
const CONTROL: u16 = 0x10;
const QSTATS_GET: u8 = 12;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;

fn qstats(ifindex: u32) -> Result<BTreeMap<u16, Counters>> {
    const FAMILY_ID: u16 = 1;
    const FAMILY_NAME: u16 = 2;
    const IFINDEX: u16 = 1;
    const QUEUE_TYPE: u16 = 2;
    const QUEUE_ID: u16 = 3;
    const SCOPE: u16 = 4;
    let socket = Socket::new(NETLINK_GENERIC)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let family = ask(&socket, CONTROL, REQUEST, GET_FAMILY, &attribute(FAMILY_NAME, b"netdev\0"))?
        .first()
        .and_then(|answer| answer.get(&FAMILY_ID).copied())
        .context("the kernel has no netdev family")?;
    let scope = [attribute(SCOPE, &1_u32.to_ne_bytes()), attribute(IFINDEX, &ifindex.to_ne_bytes())].concat();
    let mut queues = BTreeMap::<u16, Counters>::new();
    for answer in ask(&socket, u16::try_from(family)?, REQUEST | DUMP, QSTATS_GET, &scope)? {
        let value = |key| answer.get(&key).copied().unwrap_or_default();
        if value(IFINDEX) != u64::from(ifindex) {
            continue;
        }
        let counters = queues.entry(u16::try_from(value(QUEUE_ID))?).or_default();
        if value(QUEUE_TYPE) == 0 {
            (counters.rx_packets, counters.rx_bytes) = (value(8), value(9));
        } else {
            (counters.tx_packets, counters.tx_bytes) = (value(10), value(11));
        }
    }
    Ok(queues)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends one generic netlink request; the integer attributes of each answer.
fn ask(
    socket: &Socket,
    family: u16,
    flags: u16,
    command: u8,
    payload: &[u8],
) -> Result<Vec<BTreeMap<u16, u64>>> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let length = u32::try_from(20 + payload.len())?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend([family.to_ne_bytes(), flags.to_ne_bytes()].concat());
    request.extend([0; 8]);
    request.extend([command, 1, 0, 0]);
    request.extend(payload);
    socket.send(&request, 0)?;
    let mut answers = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = &bytes[..];
        while let Some(head) = rest.get(..16) {
            let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
            match u16::from_ne_bytes([head[4], head[5]]) {
                DONE => return Ok(answers),
                ERROR => bail!("netlink refuses the request"),
                _ => answers.push(attributes(rest.get(20..length).context("a message cut short")?)),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if flags & DUMP == 0 {
            return Ok(answers);
        }
    }
}

fn attributes(mut bytes: &[u8]) -> BTreeMap<u16, u64> {
    let mut found = BTreeMap::new();
    while let Some((head, _)) = bytes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        let number = match value.len() {
            2 => value.try_into().ok().map(u16::from_ne_bytes).map(u64::from),
            4 => value.try_into().ok().map(u32::from_ne_bytes).map(u64::from),
            8 => value.try_into().ok().map(u64::from_ne_bytes),
            _ => None,
        };
        found.extend(number.map(|number| (u16::from_ne_bytes([head[2], head[3]]), number)));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}
