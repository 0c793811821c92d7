//! The ledger of transmit copies.

use anyhow::Result;
use serde_json::Value;
use vnet_driver::{
    need,
    vhost::{Config, Packet, Script, Sink, kernel::Kernel},
};

use crate::{Cases, assert_exact, ledger, row, watched};

/// Longest packet that is batched, vnet header included, without an XDP program (`vhost_net_build_xdp`).
const BATCHED: u32 = 3648;

pub(crate) fn copied() -> Cases {
    let packets =
        [100_u32, 1514, 3636, 3637, 5000, 9000].into_iter().flat_map(|len| Packet::new(len).times(10));
    let script = Script::new().transmit(0, packets.collect());
    let case = |send_buffer| (Config { send_buffer, ..Config::default() }, script.clone());
    vec![case(None), case(Some(1 << 20))]
}

#[test]
fn copied_in_batches_and_one_by_one() -> Result<()> {
    need!(ledger());
    if Kernel::look()?.zerocopy {
        println!("skipped: vhost_net is loaded with experimental_zcopytx");
        return Ok(());
    }
    let (guests, report) = watched("copies")?;
    assert_exact(guests, report);
    for guest in guests {
        let send_buffer = guest.config.send_buffer;
        let truth = guest.tx();
        let (batched, batched_bytes) = if send_buffer.is_none() { truth.up_to(BATCHED) } else { (0, 0) };
        let single = truth.flow.packets() - batched;
        // The tap copies ten bytes of the vnet header of a packet that it is handed by itself.
        let single_bytes = truth.bytes_with_header() - batched_bytes - 2 * single;
        let copies = &row(guest.key(0), report)["tx"]["copies"];
        assert_eq!(copies["batched"], batched, "{copies}");
        assert_eq!(copies["single"], single, "{copies}");
        assert_eq!(copies["bytes"], batched_bytes + single_bytes, "{copies}");
        assert_eq!(copies["why"]["module_off"], truth.flow.packets(), "{copies}");
        let device = report.device(guest.key(0).netns, guest.key(0).ifindex, 0).expect("listed");
        assert_eq!((&device["vhost"], &device["zerocopy"]), (&Value::from(true), &Value::from(false)));
    }
    Ok(())
}

pub(crate) fn uncopied() -> Cases {
    let packets = [100_u32, 243, 244, 1000, 5000].into_iter().flat_map(|len| Packet::new(len).times(20));
    let script = Script::new().transmit(0, packets.collect());
    vec![(Config { sink: Sink::Steal, ..Config::default() }, script)]
}

#[test]
fn zero_copy_from_256_bytes_on() -> Result<()> {
    need!(ledger());
    if !Kernel::look()?.zerocopy {
        println!("skipped: vhost_net is loaded without experimental_zcopytx");
        return Ok(());
    }
    let (guests, report) = watched("uncopied")?;
    let guest = &guests[0];
    assert_exact(guests, report);
    let truth = guest.tx();
    let copies = &row(guest.key(0), report)["tx"]["copies"];
    assert_eq!(copies["why"]["short"], truth.short(), "{copies}");
    assert_eq!(copies["zerocopy"], truth.flow.packets() - truth.short(), "{copies}");
    assert_eq!(copies["in_flight"], 0, "{copies}");
    let device = report.device(guest.key(0).netns, guest.key(0).ifindex, 0).expect("listed");
    assert_eq!(device["zerocopy"], Value::from(true));
    Ok(())
}
