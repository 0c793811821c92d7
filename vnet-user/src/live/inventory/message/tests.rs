//! Messages as the kernel lays them out, cut and damaged ones, and requests.

use proptest::prelude::*;

use super::*;

fn nla(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, value.to_vec())
}

/// A link message of index 7, as the kernel lays it out.
fn new_link(family: u8, attributes: &[DefaultNla]) -> Vec<u8> {
    let mut body = emit(IFINFO_LEN, attributes);
    body[0] = family;
    body[2..4].copy_from_slice(&libc::ARPHRD_ETHER.to_ne_bytes());
    body[4..8].copy_from_slice(&7u32.to_ne_bytes());
    frame(libc::RTM_NEWLINK, 0, 0, &body)
}

fn parsed(datagram: &[u8]) -> Vec<What> {
    let mut messages = Vec::new();
    parse(datagram, &mut messages);
    messages.into_iter().map(|message| message.what).collect()
}

fn info(kind: &[u8], data: &[DefaultNla]) -> DefaultNla {
    let inner = [nla(libc::IFLA_INFO_KIND, kind), nla(libc::IFLA_INFO_DATA, &emit(0, data))];
    nla(libc::IFLA_LINKINFO, &emit(0, &inner))
}

#[test]
fn reads_a_multi_queue_tap() {
    let data = [
        nla(IFLA_TUN_TYPE, &[2]),
        nla(IFLA_TUN_MULTI_QUEUE, &[1]),
        nla(IFLA_TUN_NUM_QUEUES, &4u32.to_ne_bytes()),
        nla(IFLA_TUN_NUM_DISABLED_QUEUES, &1u32.to_ne_bytes()),
    ];
    let datagram = new_link(
        0,
        &[
            nla(libc::IFLA_IFNAME, b"tap0\0"),
            nla(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]),
            nla(libc::IFLA_CARRIER, &[1]),
            nla(libc::IFLA_XDP | 1 << 15, &emit(0, &[nla(IFLA_XDP_ATTACHED, &[2])])),
            info(b"tun\0", &data),
        ],
    );
    let link = Link {
        stats: None,
        ifindex: IfIndex(7),
        name: "tap0".to_owned(),
        class: Class::Tun { tap: true, multi_queue: true, queues: Some(4), disabled: Some(1) },
        address: vec![2, 0, 0, 0, 0, 1],
        carrier: Some(true),
        tx_queues: None,
        xdp: true,
    };
    assert_eq!(parsed(&datagram), [What::New(link)]);
}

#[test]
fn tells_kinds_apart() {
    let class = |attributes: &[DefaultNla]| match parsed(&new_link(0, attributes)).pop() {
        Some(What::New(link)) => link.class,
        other => panic!("{other:?}"),
    };
    let tun = Class::Tun { tap: false, multi_queue: false, queues: None, disabled: None };
    assert_eq!(class(&[info(b"tun\0", &[nla(IFLA_TUN_TYPE, &[1])])]), tun);
    assert_eq!(class(&[info(b"macvtap\0", &[])]), Class::Macvtap);
    assert_eq!(class(&[info(b"ipvtap\0", &[])]), Class::Macvtap);
    assert_eq!(class(&[info(b"veth\0", &[])]), Class::Other);
    assert_eq!(class(&[]), Class::Plain);
    let bus =
        [nla(libc::IFLA_PARENT_DEV_NAME, b"virtio2\0"), nla(libc::IFLA_PARENT_DEV_BUS_NAME, b"virtio\0")];
    assert_eq!(class(&bus), Class::Bus { bus: "virtio".to_owned(), device: "virtio2".to_owned() });
}

#[test]
fn a_bridge_port_message_is_no_link_message() {
    assert_eq!(parsed(&new_link(7, &[nla(libc::IFLA_IFNAME, b"tap0\0")])), []);
}

#[test]
fn reads_ids_of_namespaces_and_ends_of_answers() {
    let id = |kind, id: i32| frame(kind, 0, 3, &emit(RTGEN_LEN, &[nla(NETNSA_NSID, &id.to_ne_bytes())]));
    let all = [
        id(libc::RTM_NEWNSID, -1),
        id(libc::RTM_DELNSID, 4),
        frame(NLMSG_ERROR, 0, 3, &(-1i32).to_ne_bytes()),
        frame(NLMSG_DONE, 0, 3, &0i32.to_ne_bytes()),
    ];
    let wanted = [What::NsidNew(-1), What::NsidDel(4), What::Answer(-1), What::Done(0)];
    assert_eq!(parsed(&all.concat()), wanted);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(head in 0..4u16, body in prop::collection::vec(any::<u8>(), 0..200)) {
        parsed(&body);
        let kinds = [libc::RTM_NEWLINK, libc::RTM_DELLINK, libc::RTM_NEWNSID, NLMSG_ERROR];
        parsed(&frame(kinds[usize::from(head)], 0, 0, &body));
    }

    #[test]
    fn a_cut_message_is_read_without_panic(cut in 0..200usize) {
        let attributes = [nla(libc::IFLA_IFNAME, b"tap0\0"), info(b"tun\0", &[nla(IFLA_TUN_TYPE, &[2])])];
        let whole = new_link(0, &attributes);
        parsed(whole.get(..cut).unwrap_or(&whole));
    }
}
