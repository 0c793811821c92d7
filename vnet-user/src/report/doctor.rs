//! What can be measured here, through what, and why the rest cannot.

use std::io::{self, Write};

use super::{
    ProbeReport, Report,
    format::{clean, cut, maybe, pad, plural, width},
    invisible,
};
use crate::record::Known;

/// Said where there is nothing to measure.
pub(super) const NO_DEVICE: &str = "No tap, macvtap or virtio_net device in the network namespaces in use";

/// Writes the diagnosis.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let name = |text: &Option<String>| maybe(text.as_deref(), |text| cut(text, 64));
    let (host, kernel) = (name(&report.source.host), name(&report.source.kernel));
    writeln!(out, "vnet {} on {host}, Linux {kernel}\n", report.tool.version)?;

    signals(report, out)?;
    devices(report, out)?;
    let invisible = invisible::lines(report);
    if !invisible.is_empty() {
        writeln!(out, "\nDevices of guests that cannot be seen:")?;
    }
    invisible.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

/// Writes what this process and this kernel lack, and what to do about it.
pub fn prerequisites(problems: &[String], out: &mut dyn Write) -> io::Result<()> {
    if problems.is_empty() {
        return writeln!(out, "Prerequisites: all met\n");
    }
    writeln!(out, "Prerequisites:")?;
    for problem in problems {
        writeln!(out, "  {problem}")?;
    }
    writeln!(out)
}

/// Writes each signal, what it is measured through, and why not.
pub fn signals(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let missing = report.probes.iter().filter(|probe| probe.state == Known::Unavailable).count();
    let signals = plural(report.probes.len(), "signal");
    match missing {
        0 => writeln!(out, "{signals}, all measured:")?,
        n => writeln!(out, "{signals}, {n} of them not available:")?,
    }
    let widest = report.probes.iter().map(|probe| width(&clean(&probe.signal))).max().unwrap_or(0);
    for probe in &report.probes {
        signal(probe, widest, out)?;
    }
    Ok(())
}

fn devices(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}:", plural(report.devices.len(), "device"))?;
    let mut covered = 0;
    for device in &report.devices {
        if device.uncovered.is_empty() {
            covered += 1;
        } else {
            writeln!(out, "  {} ({}) is not covered:", cut(&device.name, 20), device.kind)?;
            for reason in &device.uncovered {
                writeln!(out, "    {}", clean(reason))?;
            }
        }
    }
    match (covered, report.devices.len()) {
        (_, 0) => writeln!(out, "  {NO_DEVICE}"),
        (covered, all) if covered == all => writeln!(out, "  all covered"),
        (covered, all) => writeln!(out, "  the other {covered} of {all} are covered"),
    }
}

/// `tap.tx  exact  tp_btf:netif_receive_skb`, and below it what there is to say.
fn signal(probe: &ProbeReport, widest: usize, out: &mut dyn Write) -> io::Result<()> {
    let state = match probe.state {
        Known::Exact => "exact",
        Known::Derived => "derived",
        Known::Unavailable => "unavailable",
    };
    let signal = pad(&clean(&probe.signal), widest, false);
    writeln!(out, "  {signal}  {}  {}", pad(state, 11, false), clean(&probe.via))?;
    if let Some(reason) = &probe.reason {
        writeln!(out, "  {:widest$}  {}", "", clean(reason))?;
    }
    Ok(())
}
