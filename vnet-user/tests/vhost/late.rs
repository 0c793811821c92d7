//! Zero-copy packets that are copied after all.

use anyhow::Result;
use serde_json::{Value, json};
use vnet_driver::{
    need,
    netns::Netns,
    vhost::{Config, Packet, Script, Side, Sink, Step, kernel::Kernel, neighbours, truth},
};

use crate::{Cases, assert_exact, assert_running, ledger, observe, row, watched};

/// Why there is no zero-copy, aloud.
fn copy_mode() -> Result<Option<String>> {
    let zerocopy = Kernel::look()?.zerocopy;
    Ok((!zerocopy).then(|| "vhost_net is loaded without experimental_zcopytx".to_owned()))
}

/// Whether the kernel copies what it hands to the last receiver of its stack too (`__netif_receive_skb_core`, before
/// Linux 6.13).
fn copies_for_the_stack() -> Result<bool> {
    let release = Kernel::look()?.release;
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (6, 13))
}

/// What must be so when everything that was to go without a copy was copied late: nothing went without.
fn all_late(copies: &Value, truth: &truth::Tx) {
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX / 16);
    let why = &copies["why"];
    assert_eq!((&copies["zerocopy"], &copies["in_flight"]), (&json!(0), &json!(0)), "{copies}");
    assert_eq!((&why["rejected"], &why["late"]), (&json!(0), &copies["zerocopy_failed"]), "{copies}");
    assert!(number(&why["late"]) > 0, "{copies}");
    // In the end every byte was copied: frames and what the tap reads of the vnet header.
    assert_eq!(copies["bytes"], truth.flow.bytes() + 10 * truth.flow.packets(), "{copies}");
    assert_eq!(why["short"], truth.short(), "{copies}");
    // After the first that fails, one in 64 may (`vhost_net_tx_select_zcopy`).
    assert!(number(&why["backoff"]) > number(&why["late"]), "{copies}");
}

pub(crate) fn read_or_dropped() -> Cases {
    let packets = [100_u32, 1000, 1514, 9000].into_iter().flat_map(|len| Packet::new(len).times(100));
    let script = Script::new().on(0, Step::Send(packets.collect())).on(0, Step::Wait(Side::Tx));
    let read = (Config { sink: Sink::Receiver, ..Config::default() }, script);
    let dropped = (Config::default(), Script::new().transmit(0, Packet::new(1000).times(100)));
    vec![read, dropped]
}

#[test]
fn packets_that_the_host_reads_or_drops() -> Result<()> {
    need!(ledger());
    need!(copy_mode()?);
    let (guests, report) = watched("read or dropped")?;
    assert_exact(guests, report);
    dropped_are_not_copied(&row(guests[1].key(0), report)["tx"]["copies"]);
    let guest = &guests[0];
    let truth = guest.tx();
    let copies = &row(guest.key(0), report)["tx"]["copies"];
    println!("{copies}");
    if copies_for_the_stack()? {
        all_late(copies, truth);
    } else {
        assert_eq!(
            (&copies["zerocopy_failed"], &copies["why"]["backoff"]),
            (&json!(0), &json!(0)),
            "{copies}"
        );
        assert!(copies["zerocopy"].as_u64() > Some(100), "{copies}");
        let single = truth.short() + copies["why"]["pending"].as_u64().unwrap_or(0);
        assert_eq!(copies["single"], single, "{copies}");
    }
    Ok(())
}

fn dropped_are_not_copied(copies: &Value) {
    println!("{copies}");
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX / 16);
    assert_eq!(number(&copies["why"]["late"]) + number(&copies["why"]["rejected"]), 0, "{copies}");
    // Of each uncopied packet the tap reads 10 bytes of the vnet header and the first 128 of the frame.
    let sum = 138 * number(&copies["zerocopy"]) + 1010 * number(&copies["single"]);
    assert_eq!(copies["bytes"], sum, "{copies}");
}

#[test]
fn from_guest_to_guest() -> Result<()> {
    need!(ledger());
    let vnet = observe()?;
    let Some([a, b]) = neighbours(&Netns::new()?)? else { return Ok(()) };
    b.step(1, &Step::Refill(Some(1526)))?;
    b.expect(1, 400)?;
    let packets = [
        Packet::new(100).to(1),
        Packet::new(1514).to(1),
        Packet::new(1514).to(1).parts(3),
        Packet::new(9000).to(1),
    ];
    a.run(&Script::new().on(0, Step::Send(packets.repeat(100))).on(0, Step::Wait(Side::Tx)))?;
    b.step(1, &Step::Wait(Side::Rx))?;
    let truth = a.truth()?.pairs.remove(0).tx;
    b.truth()?;
    let report = vnet.finish()?;
    assert_running([&a, &b], &report);
    let copies = &row(a.key(0), &report)["tx"]["copies"];
    println!("{copies}");
    if Kernel::look()?.zerocopy {
        // The other tap keeps packets as long as it likes: it has each copied (`tun_net_xmit`).
        all_late(copies, &truth);
    }
    Ok(())
}
