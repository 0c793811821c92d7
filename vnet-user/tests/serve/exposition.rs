//! What is exposed, to the last series.

use anyhow::Result;
use vnet::export::{METRICS, Of, PerQueue};
use vnet_driver::need;

use crate::{full, prometheus, run::check};

/// Series of a text, by what they tell of.
fn count(text: &str, has: impl Fn(&str) -> bool) -> usize {
    text.lines().filter(|line| !line.starts_with('#') && has(line)).count()
}

#[test]
fn there_are_as_many_series_as_the_readme_says() -> Result<()> {
    let (vms, nics, pairs) = (3, 2, 4);
    let readme = include_str!("../../../README.md");
    let of = |line: &str| (line.contains("device=\""), line.contains("queue=\""), line.contains("worker=\""));
    for (per_queue, queues, summed) in [(PerQueue::Auto, pairs, 0), (PerQueue::Off, 0, 6)] {
        let report = full::report(1000, 9.0, vms, nics, pairs);
        let text = full::exporter(report, per_queue)?.text()?;
        let devices = (vms * nics) as usize;
        assert_eq!(count(&text, |line| of(line).1), devices * usize::from(queues) * 6, "{text}");
        // One reason of drops and one distance in each direction.
        assert_eq!(count(&text, |line| of(line).0 && !of(line).1), devices * (49 + 4 + summed), "{text}");
        assert_eq!(
            count(&text, |line| of(line).2 && !of(line).0),
            devices * 4,
            "a worker per device\n{text}"
        );
        assert_eq!(count(&text, |line| line.contains("probe=\"")), 2 * 3, "{text}");
        assert_eq!(count(&text, |line| line.contains("rule=\"")), 2, "{text}");
        let once = |line: &str| {
            !["device", "worker", "probe", "rule"].iter().any(|l| line.contains(&format!("{l}=\"")))
        };
        // The scrape before the first one took no time.
        assert_eq!(count(&text, once), 19 - 1, "{text}");
        let summed =
            format!("vnet_queues_summed {}\n", if summed == 0 { 0 } else { vms * nics * u32::from(pairs) });
        assert!(text.contains(&summed), "{text}");
    }
    for row in [
        "own | 6 |",
        "| 7, or 49 where vhost serves it; 6 more",
        "vhost | 4 |",
        "| 1, or 3 under",
        "| 19, and one per rule",
    ] {
        assert!(readme.contains(row), "the README says something else than {row:?}");
    }
    Ok(())
}

#[test]
fn every_row_of_the_table_is_told_in_both_formats() -> Result<()> {
    need!(prometheus().err());
    let promtool = prometheus().map_err(anyhow::Error::msg)?.join("promtool");
    let exporter = full::exporter(full::report(1000, 9.0, 2, 1, 2), PerQueue::Auto)?;
    let (text, open) = (exporter.text()?, exporter.openmetrics());
    for metric in METRICS {
        if metric.name == "vnet_scrape_duration_seconds" {
            continue;
        }
        assert!(
            text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
            "{}: {text}",
            metric.name
        );
        let base = metric.name.trim_end_matches("_total").trim_end_matches("_info");
        assert!(open.contains(&format!("# HELP {base} ")), "{base}: {open}");
        if metric.name.ends_with("_total") {
            assert!(open.contains(&format!("\n{base}_created")), "{base}: {open}");
        }
        if let Of::Sizes(_) = metric.of {
            assert!(open.contains("le=\"64.0\"") && open.contains("le=\"+Inf\""), "{open}");
        }
    }
    assert!(open.ends_with("\n# EOF\n"));
    let (clean, said) = check(&promtool, &["check", "metrics"], &text)?;
    assert!(clean && said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn names_may_hold_anything() -> Result<()> {
    need!(prometheus().err());
    let promtool = prometheus().map_err(anyhow::Error::msg)?.join("promtool");
    let mut report = full::report(1000, 9.0, 1, 4, 1);
    for (device, name) in report.devices.iter_mut().zip(["a\"b", "a\\n\n", "\u{1b}[2J\u{202e}", "}{,=#"]) {
        device.name = name.into();
    }
    // Two of one name, as while they change places: a series is told once.
    report.devices[2].name = report.devices[3].name.clone();
    let text = full::exporter(report, PerQueue::Auto)?.text()?;
    let (clean, said) = check(&promtool, &["check", "metrics"], &text)?;
    assert!(clean && said.is_empty(), "{said}\n{text}");
    assert_eq!(count(&text, |line| line.starts_with("vnet_device_info{")), 3, "{text}");
    Ok(())
}

#[test]
fn what_is_not_known_has_no_series() -> Result<()> {
    let mut report = full::report(1000, 9.0, 1, 1, 2);
    report.queues[1].tx.packets = None;
    report.queues[1].tx.copies = None;
    report.queues[1].rx.drops = None;
    let text = full::exporter(report, PerQueue::Cap(1))?.text()?;
    for gone in [
        "vnet_tx_packets_total{",
        "vnet_tx_zerocopy_packets_total{",
        "vnet_rx_drops_total{",
        "vnet_tx_batch_packets",
    ] {
        assert!(!text.contains(&format!("\n{gone}")), "half of a sum is none: {gone} in\n{text}");
    }
    assert!(text.contains("\nvnet_rx_packets_total{netns=\"4026531840\",device=\"vnet1\"} 6000\n"), "{text}");
    Ok(())
}
