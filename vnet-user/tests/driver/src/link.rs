//! Links of a namespace: up and down, renamed, made, removed, counted.

use std::{
    os::fd::{AsFd, AsRawFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        InfoBridge, InfoData, InfoKind, InfoMacVtap, InfoVeth, InfoVlan, LinkAttribute, LinkFlags, LinkInfo,
        LinkMessage, LinkXdp, MacVtapMode, State, Stats64,
    },
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::{bpf::Program, netns::Netns};

/// A netlink socket in a namespace.
#[derive(Debug)]
pub struct Links(Socket);

impl Links {
    /// Opens one.
    pub fn open(netns: &Netns) -> Result<Self> {
        let socket = netns.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        })?;
        Ok(Self(socket))
    }

    /// Index of the device called `name`.
    pub fn index(&self, name: &str) -> Result<u32> {
        Ok(self.get_by(LinkMessage::default(), Some(name))?.header.index)
    }

    /// The kernel's counters of a device, in the host's direction: its `rx` is the guest's TX.
    pub fn stats(&self, ifindex: u32) -> Result<Stats64> {
        let link = self.get_by(link(ifindex), None)?;
        link.attributes
            .into_iter()
            .find_map(|a| if let LinkAttribute::Stats64(stats) = a { Some(stats) } else { None })
            .context("the kernel gave no IFLA_STATS64")
    }

    /// Brings a device up.
    pub fn up(&self, ifindex: u32) -> Result<()> {
        self.flag_up(ifindex, LinkFlags::Up)
    }

    /// Waits until a device that was brought up carries packets: the kernel gives it its queue a moment later, and drops
    /// what comes until then (`net/core/link_watch.c`: `linkwatch_do_dev`, which does both under one lock).
    pub fn carries(&self, ifindex: u32) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let up = |attribute: &LinkAttribute| *attribute == LinkAttribute::OperState(State::Up);
            if self.get_by(link(ifindex), None)?.attributes.iter().any(up) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "interface {ifindex} does not come up");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Takes a device down.
    pub fn down(&self, ifindex: u32) -> Result<()> {
        self.flag_up(ifindex, LinkFlags::empty())
    }

    /// Sets the MTU.
    pub fn set_mtu(&self, ifindex: u32, mtu: u32) -> Result<()> {
        self.change(ifindex, LinkAttribute::Mtu(mtu))
    }

    /// Sets the transmit queue length: for a tap, the slots of each ring to the guest.
    pub fn set_queue_len(&self, ifindex: u32, slots: u32) -> Result<()> {
        self.change(ifindex, LinkAttribute::TxQueueLen(slots))
    }

    /// Renames a device; kernels before 6.2 want it down for that.
    pub fn rename(&self, ifindex: u32, name: &str) -> Result<()> {
        self.change(ifindex, LinkAttribute::IfName(name.into()))
    }

    /// Makes `ifindex` a port of the bridge (0: of none).
    pub fn set_bridge(&self, ifindex: u32, bridge: u32) -> Result<()> {
        self.change(ifindex, LinkAttribute::Controller(bridge))
    }

    /// Moves a device into another namespace.
    pub fn move_to(&self, ifindex: u32, netns: &Netns) -> Result<()> {
        self.change(ifindex, LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()))
    }

    /// Runs an XDP program in the device's driver; `None` takes it away.
    pub fn set_xdp(&self, ifindex: u32, program: Option<&Program>) -> Result<()> {
        const DRIVER_MODE: u32 = 1 << 2;
        let fd = program.map_or(-1, |p| p.as_fd().as_raw_fd());
        self.change(ifindex, LinkAttribute::Xdp(vec![LinkXdp::Fd(fd), LinkXdp::Flags(DRIVER_MODE)]))
    }

    /// Makes a veth pair; their indexes.
    pub fn add_veth(&self, name: &str, peer: &str) -> Result<(u32, u32)> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.into()));
        self.add(name, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(other))), None)?;
        Ok((self.index(name)?, self.index(peer)?))
    }

    /// Makes a bridge that sends nothing by itself (no IGMP).
    pub fn add_bridge(&self, name: &str) -> Result<u32> {
        let quiet = InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)]);
        self.add(name, InfoKind::Bridge, Some(quiet), None)?;
        self.index(name)
    }

    /// Makes a macvtap on `lower`.
    pub fn add_macvtap(&self, name: &str, lower: u32) -> Result<u32> {
        let data = InfoData::MacVtap(vec![InfoMacVtap::Mode(MacVtapMode::Bridge)]);
        self.add(name, InfoKind::MacVtap, Some(data), Some(lower))?;
        self.index(name)
    }

    /// Makes a VLAN on `lower`.
    pub fn add_vlan(&self, name: &str, lower: u32, id: u16) -> Result<u32> {
        self.add(name, InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(id)])), Some(lower))?;
        self.index(name)
    }

    /// Removes a device.
    pub fn delete(&self, ifindex: u32) -> Result<()> {
        self.send(RouteNetlinkMessage::DelLink(link(ifindex)), 0).map(drop).context("cannot delete the link")
    }

    /// Runs `program` on everything that the device hands to the stack (clsact, ingress, direct action).
    pub fn classify(&self, ifindex: u32, program: &Program) -> Result<()> {
        let index = i32::try_from(ifindex)?;
        let mut qdisc = TcMessage::with_index(index);
        qdisc.header.parent = TcHandle::CLSACT;
        qdisc.header.handle = TcHandle { major: 0xffff, minor: 0 };
        qdisc.attributes.push(TcAttribute::Kind("clsact".into()));
        self.send(RouteNetlinkMessage::NewQueueDiscipline(qdisc), NLM_F_CREATE | NLM_F_EXCL)
            .context("cannot add clsact")?;
        let mut filter = TcMessage::with_index(index);
        filter.header.parent = TcHandle { major: 0xffff, minor: TcHandle::MIN_INGRESS };
        // Priority 1 in the upper half, ETH_P_ALL in network order in the lower.
        filter.header.info = 1 << 16 | u32::from(3_u16.to_be());
        filter.attributes.push(TcAttribute::Kind("bpf".into()));
        filter.attributes.push(TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(u32::try_from(program.as_fd().as_raw_fd())?)),
            TcOption::Bpf(TcFilterBpfOption::ProgName("vnet_driver".into())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]));
        self.send(RouteNetlinkMessage::NewTrafficFilter(filter), NLM_F_CREATE | NLM_F_EXCL)
            .context("cannot add the bpf filter")
            .map(drop)
    }

    fn add(&self, name: &str, kind: InfoKind, data: Option<InfoData>, lower: Option<u32>) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        message.attributes.extend(lower.map(LinkAttribute::Link));
        let info = std::iter::once(LinkInfo::Kind(kind)).chain(data.map(LinkInfo::Data)).collect();
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.send(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map(drop)
            .with_context(|| format!("cannot make link {name}"))
    }

    fn flag_up(&self, ifindex: u32, flags: LinkFlags) -> Result<()> {
        let mut message = link(ifindex);
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        self.send(RouteNetlinkMessage::SetLink(message), 0)
            .map(drop)
            .with_context(|| format!("cannot change interface {ifindex}"))
    }

    fn change(&self, ifindex: u32, attribute: LinkAttribute) -> Result<()> {
        let mut message = link(ifindex);
        let what = format!("cannot set {attribute:?} of interface {ifindex}");
        message.attributes.push(attribute);
        self.send(RouteNetlinkMessage::SetLink(message), 0).map(drop).context(what)
    }

    fn get_by(&self, mut message: LinkMessage, name: Option<&str>) -> Result<LinkMessage> {
        message.attributes.extend(name.map(|name| LinkAttribute::IfName(name.into())));
        let answer = self.send(RouteNetlinkMessage::GetLink(message), 0)?;
        answer.context("the kernel did not describe the link")
    }

    /// Sends one request and reads up to its acknowledgement; the link that came with it, if one did.
    /// Puts a qdisc before a device that holds what is to leave it, or lets out what it holds and all that comes
    /// (`plug_change`).
    pub fn plug(&self, ifindex: u32, hold: bool) -> Result<()> {
        const OPTIONS: u16 = 2;
        const RELEASE: u32 = 2;
        const LIMIT: u32 = 3;
        let mut qdisc = TcMessage::with_index(i32::try_from(ifindex)?);
        qdisc.header.parent = TcHandle::ROOT;
        qdisc.header.handle = TcHandle { major: 1, minor: 0 };
        qdisc.attributes.push(TcAttribute::Kind("plug".into()));
        // `struct tc_plug_qopt`: what to do, and bytes to hold at most.
        let (action, bytes, flags) =
            if hold { (LIMIT, 256_u32 << 20, NLM_F_CREATE | NLM_F_EXCL) } else { (RELEASE, 0, 0) };
        let options = [action.to_ne_bytes(), bytes.to_ne_bytes()].concat();
        qdisc.attributes.push(TcAttribute::Other(DefaultNla::new(OPTIONS, options)));
        self.send(RouteNetlinkMessage::NewQueueDiscipline(qdisc), flags)
            .context("cannot set the plug")
            .map(drop)
    }

    fn send(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Option<LinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut found = None;
        loop {
            let (answer, _) = self.0.recv_from_full()?;
            let mut rest = &answer[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)?;
                match message.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => found = Some(link),
                    NetlinkPayload::Error(e) => match e.code {
                        None => return Ok(found),
                        Some(_) => return Err(e.to_io().into()),
                    },
                    NetlinkPayload::InnerMessage(_) => {}
                    other => bail!("unexpected answer from netlink: {other:?}"),
                }
                let whole = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(whole..).unwrap_or_default();
            }
        }
    }
}

fn link(ifindex: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message
}
