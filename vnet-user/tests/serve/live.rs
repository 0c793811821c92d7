//! Live traffic of taps, as a real Prometheus has it in the end.

use std::{
    os::unix::net::UnixDatagram,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vnet_driver::{
    frame::Frame,
    load::{self, Mix, Share},
    need,
    netns::Netns,
    tap::{Config, Tap},
    truth::Ledger,
};

use crate::{
    live, prometheus,
    prometheus::Prometheus,
    run::{PATIENCE, Serve, check},
};

#[test]
fn prometheus_has_what_really_happened() -> Result<()> {
    need!(live());
    need!(prometheus().err());
    let programs = prometheus().map_err(anyhow::Error::msg)?;
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    tap.steer_by_address()?;
    let vnet = Serve::start(&["--netns", &netns.inode().to_string(), "--interval", "100ms"])?;
    let server = Prometheus::of(&programs, vnet.address, &[])?;
    let here = format!("netns=\"{}\",device=\"tap0\"", netns.inode());
    server.becomes(&format!("count(vnet_tx_packets_total{{{here}}} == 0)"), Some(4.0))?;

    let mut truth = Ledger::default();
    let shares = [1, 10, 100, 1000].map(|n| Share { tx: 5 * n, rx: 3 * n });
    load::both(&tap, &Mix::everything(), &shares, &mut truth)?;
    for (key, counts) in &truth.0 {
        for (direction, flow) in [("tx", &counts.tx), ("rx", &counts.rx)] {
            let labels = format!("{here},queue=\"{}\"", key.queue);
            let metrics = [("packets", flow.packets()), ("bytes", flow.bytes()), ("drops", flow.dropped())];
            for (what, n) in metrics {
                server.becomes(&format!("vnet_{direction}_{what}_total{{{labels}}}"), Some(n as f64))?;
            }
        }
    }
    let whole = truth.device(netns.inode(), tap.ifindex, 0);
    let segments = format!("vnet_tx_segments_total{{{here}}}");
    server.becomes(&segments, Some(whole.tx.segments as f64))?;
    server.becomes(&format!("count(rate(vnet_tx_packets_total{{{here}}}[1m]) > 0)"), Some(4.0))?;
    server.becomes(&format!("vnet_device_queues{{{here}}}"), Some(4.0))?;
    server.becomes("vnet_lost_events_total", Some(0.0))?;
    server.becomes("up", Some(1.0))?;
    // OpenMetrics was what it asked for: only there are counters told since when they count.
    let since = format!(
        "count(vnet_tx_packets_created{{{here}}} == on() group_left vnet_counting_start_time_seconds)"
    );
    server.becomes(&since, Some(4.0))?;

    // A twin that comes later counts from later; a device that goes vanishes.
    let twin = Tap::new(&netns, &Config::new("tap1", 1))?;
    let later = "vnet_tx_packets_created{device=\"tap1\"} > on() group_left vnet_counting_start_time_seconds";
    server.becomes(&format!("count({later})"), Some(1.0))?;
    drop(tap);
    server.becomes(&format!("count({{{here}}})"), None)?;
    server.becomes("vnet_devices", Some(1.0))?;
    drop(twin);

    // Both formats at once, linted by Prometheus' own tool.
    let text = vnet.body("/metrics")?;
    let (clean, said) = check(&programs.join("promtool"), &["check", "metrics"], &text)?;
    assert!(clean && said.is_empty(), "{said}\n{text}");
    let (head, text) = vnet.get("/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n")?;
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
    Ok(())
}

/// Devices of the namespace in a report, those that are gone included.
fn listed(vnet: &Serve) -> Result<usize> {
    let report: Value = serde_json::from_str(&vnet.body("/report.json")?)?;
    Ok(report["devices"].as_array().context("no devices")?.len())
}

#[test]
fn what_is_gone_is_forgotten_in_the_end() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let vnet = Serve::start(&["--netns", &netns.inode().to_string(), "--interval", "100ms"])?;
    let stays = Tap::new(&netns, &Config::new("stays", 1))?;
    let mut sent = 0;
    for round in 0..60 {
        let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
        load::transmit(&tap.files()[1], &[Frame::plain(60)], 3)?;
        load::transmit(&stays.files()[0], &[Frame::plain(60)], 2)?;
        sent += 2;
        if round % 20 == 0 {
            assert!(vnet.body("/metrics")?.contains("vnet_devices "));
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while listed(&vnet)? != 1 {
        ensure!(Instant::now() < deadline, "{} devices are still told of", listed(&vnet)?);
        thread::sleep(Duration::from_millis(50));
    }
    // What has been there all the time has lost nothing, and what comes under an old name is counted from its beginning.
    let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
    load::transmit(&tap.files()[1], &[Frame::plain(60)], 7)?;
    let name = |device, queue| {
        format!(
            "\nvnet_tx_packets_total{{netns=\"{}\",device=\"{device}\",queue=\"{queue}\"}} ",
            netns.inode()
        )
    };
    for wanted in [format!("{}{sent}\n", name("stays", 0)), format!("{}7\n", name("tap0", 1))] {
        while !vnet.body("/metrics")?.contains(&wanted) {
            ensure!(Instant::now() < deadline, "no {wanted}{}", vnet.body("/metrics")?);
            thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(vnet.body("/metrics")?.contains("\nvnet_lost_events_total 0\n"));
    Ok(())
}

#[test]
fn it_says_when_it_is_ready_and_well_and_ends_in_order() -> Result<()> {
    need!(live());
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path)?;
    supervisor.set_read_timeout(Some(PATIENCE))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_vnet"));
    command.args(["serve", "--interval", "100ms"]).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let vnet = Serve::with(&mut command)?;
    assert!(vnet.heard.contains("counting since "), "{}", vnet.heard);
    let hear = || -> Result<String> {
        let mut bytes = [0; 64];
        let n = supervisor.recv(&mut bytes).context("nothing is heard")?;
        Ok(String::from_utf8_lossy(&bytes[..n]).into_owned())
    };
    assert_eq!(hear()?, "READY=1");
    for _ in 0..3 {
        assert_eq!(hear()?, "WATCHDOG=1");
    }
    assert_eq!(vnet.body("/healthz")?, "ok\n");
    let report: Value = serde_json::from_str(&vnet.body("/report.json")?)?;
    assert_eq!(report["schema"], 1);
    let (status, said) = vnet.end()?;
    assert!(status.success() && said.is_empty(), "{status}: {said}");
    supervisor.set_read_timeout(Some(Duration::from_secs(1)))?;
    assert!(
        std::iter::from_fn(|| hear().ok()).any(|word| word == "STOPPING=1"),
        "it does not say that it stops"
    );
    Ok(())
}
