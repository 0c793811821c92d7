//! Records as text for people: a line a record, and below a sample a line for each thing in it.

use std::{fmt::Write as _, io};

use crate::{
    record::{Flow, Known, Nanos, QueueCounts, Record, Ring, Sample, Source, Vhost, Worker},
    topology::{DeviceKey, QueueKey, Topology},
};

/// Writes one record.
///
/// # Errors
/// As `out`.
pub fn write(record: &Record, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
    match record {
        Record::Source(source) => write_source(source, out),
        Record::Topology(topology) => write_topology(topology, out),
        Record::Sample(sample) => write_sample(sample, out),
        Record::Lost(lost) => writeln!(out, "lost {} events, {} records", lost.events, lost.records),
        Record::End(at) => writeln!(out, "end {}", time(*at)),
    }
}

fn write_source(source: &Source, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
    writeln!(out, "source {} Linux {}, counting since {}", source.host, source.kernel, source.started)?;
    for probe in &source.probes {
        let how = match probe.state {
            Known::Exact => "exact",
            Known::Derived => "derived",
            Known::Unavailable => "unavailable",
        };
        let reason = probe.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(out, "  {} {how} through {}{reason}", probe.signal, probe.via)?;
    }
    Ok(())
}

fn write_topology(topology: &Topology, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
    writeln!(out, "topology {} devices", topology.devices.len())?;
    for device in &topology.devices {
        let queues = device.queues_enabled.map_or_else(|| "—".to_owned(), |n| n.to_string());
        let owner = device.owner.as_ref().map(|owner| format!(" of {} ({})", owner.comm, owner.pid));
        let gone = if device.present { "" } else { " gone" };
        let owner = owner.unwrap_or_default();
        writeln!(
            out,
            "  {} {:?} {} queues {queues}{owner}{gone}",
            place(device.key),
            device.name,
            device.kind
        )?;
    }
    for row in &topology.invisible {
        writeln!(out, "  invisible {:?} {:?} of {} ({})", row.kind, row.device, row.comm, row.pid)?;
    }
    Ok(())
}

fn write_sample(sample: &Sample, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
    writeln!(out, "sample {}", time(sample.at))?;
    for (key, counts) in &sample.queues {
        writeln!(out, "  {}{}", pair(*key), counts_text(counts))?;
    }
    for worker in &sample.workers {
        writeln!(out, "  {} worker{}", pair(worker.queue), worker_text(worker))?;
    }
    for key in &sample.ended {
        writeln!(out, "  {} worker ended", pair(*key))?;
    }
    for (key, residuals) in &sample.residuals {
        let residuals: Vec<_> = residuals.iter().map(|(name, n)| format!("{name} {n:+}")).collect();
        writeln!(out, "  {} residuals {}", place(*key), residuals.join(", "))?;
    }
    Ok(())
}

fn time(at: Nanos) -> String {
    format!("{:.6} s", at.seconds())
}

fn place(key: DeviceKey) -> String {
    let generation = if key.generation > 0 { format!(".{}", key.generation) } else { String::new() };
    format!("{}/{}{generation}", key.netns.0, key.ifindex.0)
}

fn pair(key: QueueKey) -> String {
    format!("{}#{}", place(key.device), key.queue.0)
}

/// Counts that are not 0; what is not known is left out.
fn counts_text(counts: &QueueCounts) -> String {
    let mut text = String::new();
    let QueueCounts { tx, rx, vhost } = counts;
    for (name, flow) in [("tx", tx), ("rx", rx)] {
        if let Some(flow) = flow {
            let _ = write!(text, " {name}");
            flow_text(&mut text, flow);
        }
    }
    if let Some(Vhost { copies, tx, rx, rx_copied_bytes }) = vhost {
        if let Some(copies) = copies {
            text += " copies";
            let places = [
                ("batched", copies.batched),
                ("single", copies.single),
                ("zerocopy", copies.zerocopy),
                ("rejected", copies.zerocopy_rejected),
                ("late", copies.zerocopy_late),
                ("in_flight", copies.in_flight),
                ("bytes", copies.bytes),
                ("batches", copies.batches),
            ];
            numbers(&mut text, places.map(|(name, n)| (name, Some(n))));
        }
        for (name, ring) in [("tx-ring", tx), ("rx-ring", rx)] {
            let _ = write!(text, " {name}");
            ring_text(&mut text, ring);
        }
        numbers(&mut text, [("rx_copied_bytes", *rx_copied_bytes)]);
    }
    text
}

fn flow_text(text: &mut String, flow: &Flow) {
    let counts = [("packets", flow.packets()), ("bytes", flow.bytes), ("segments", flow.segments)];
    numbers(text, counts.map(|(name, n)| (name, Some(n))));
    numbers(text, [("stack_drops", flow.stack_drops)]);
    numbers(text, flow.drops.iter().map(|(reason, n)| (&**reason, Some(*n))));
}

fn ring_text(text: &mut String, ring: &Ring) {
    let Ring { used, kicks, calls, calls_suppressed, runs: _, woken } = *ring;
    numbers(
        text,
        [
            ("used", used),
            ("kicks", kicks),
            ("calls", calls),
            ("suppressed", calls_suppressed),
            ("woken", woken),
        ],
    );
}

fn worker_text(worker: &Worker) -> String {
    let mut text = format!(" {} {:?} of {}", worker.tid, worker.comm, worker.tgid);
    numbers(&mut text, [("cpu", worker.cpu.map(u64::from)), ("node", worker.node.map(u64::from))]);
    let Worker { run_ns, wait_ns, migrations, busy_poll_ns, .. } = *worker;
    numbers(
        &mut text,
        [
            ("run_ns", run_ns),
            ("wait_ns", wait_ns),
            ("migrations", migrations),
            ("busy_poll_ns", busy_poll_ns),
        ],
    );
    text
}

fn numbers<'a>(text: &mut String, numbers: impl IntoIterator<Item = (&'a str, Option<u64>)>) {
    for (name, n) in numbers.into_iter().filter_map(|(name, n)| n.filter(|n| *n > 0).map(|n| (name, n))) {
        let _ = write!(text, " {name} {n}");
    }
}
