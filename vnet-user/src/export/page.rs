//! The page for people: what goes on now, and where the rest is.

use std::fmt::{Display, Write};

use super::view::{Shown, View};
use crate::report::{Known, Rate, format::si};

/// What [`write`] writes.
pub(super) const TYPE: &str = "text/html; charset=utf-8";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:70em}\
     table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #8884}\
     td:first-child,th:first-child,.l{text-align:left}.critical{color:#b00}.warning{color:#a60}\
     @media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}";

/// Devices that are shown at most; a page is read by people.
const DEVICES: usize = 100;

/// The page.
pub(super) fn write(view: &View<'_>) -> String {
    let mut out = String::new();
    // A string takes everything.
    let _infallible = page(view, &mut out);
    out
}

fn page(view: &View<'_>, out: &mut String) -> std::fmt::Result {
    let source = &view.report.source;
    let host = Html(source.host.as_deref().unwrap_or("?"));
    write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=width=device-width>\
         <title>vnet on {host}</title><style>{STYLE}</style>\n<h1>vnet on {host}</h1>\n<p>"
    )?;
    write!(
        out,
        "{} devices, {} queue pairs. Linux {}, vnet {}, counting since {} ({:.0} s).",
        view.devices.len(),
        view.queue_pairs(),
        Html(source.kernel.as_deref().unwrap_or("?")),
        Html(&view.report.tool.version),
        Html(source.started.as_deref().unwrap_or("?")),
        source.duration_s
    )?;
    let lost = view.report.lost;
    if (lost.events, lost.records) != (0, 0) {
        write!(out, " <b class=critical>Lost: {} events, {} records.</b>", lost.events, lost.records)?;
    }
    out.push_str(
        "</p>\n<p><a href=/metrics>/metrics</a> for Prometheus, <a href=/report.json>/report.json</a> for programs, \
         <a href=/healthz>/healthz</a></p>\n",
    );
    findings(view, out)?;
    devices(view, out)?;
    let missing: Vec<_> =
        view.report.probes.iter().filter(|probe| probe.state == Known::Unavailable).collect();
    if !missing.is_empty() {
        out.push_str("<h2>Not measured on this kernel</h2>\n<ul>\n");
        for probe in missing {
            let reason = probe.reason.as_deref().unwrap_or_default();
            writeln!(out, "<li>{}: {}</li>", Html(&probe.signal), Html(reason))?;
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</html>\n");
    Ok(())
}

fn findings(view: &View<'_>, out: &mut String) -> std::fmt::Result {
    let mut findings: Vec<_> = view.report.findings.iter().collect();
    findings.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.rule.cmp(&b.rule)));
    if !findings.is_empty() {
        out.push_str("<h2>Findings</h2>\n<ul>\n");
    }
    for finding in &findings {
        let level = format!("{:?}", finding.level).to_lowercase();
        let (rule, why) = (Html(&finding.rule), Html(&finding.why));
        write!(out, "<li><b class={level}>{level}</b> {rule}: {why}")?;
        for command in &finding.fix {
            write!(out, "<br><code>{}</code>", Html(command))?;
        }
        out.push_str("</li>\n");
    }
    if !findings.is_empty() {
        out.push_str("</ul>\n");
    }
    Ok(())
}

fn devices(view: &View<'_>, out: &mut String) -> std::fmt::Result {
    let mut devices: Vec<_> = view.devices.iter().collect();
    let load = |shown: &Shown<'_>| {
        let pps = |rate: Option<Rate>| rate.map_or(0.0, |rate| rate.pps);
        pps(shown.device.tx_rate) + pps(shown.device.rx_rate)
    };
    devices.sort_by(|a, b| load(b).total_cmp(&load(a)));
    if devices.is_empty() {
        return Ok(());
    }
    out.push_str(
        "<h2>Devices by load</h2>\n<table><tr><th>device<th class=l>kind<th>netns<th>VM<th>queues<th>TX packets/s\
         <th>TX bit/s<th>RX packets/s<th>RX bit/s<th>drops/s</tr>\n",
    );
    for shown in devices.iter().take(DEVICES) {
        let device = shown.device;
        write!(
            out,
            "<tr><td>{}<td class=l>{}<td>{}<td>{}<td>{}",
            Html(&device.name),
            Html(&device.kind),
            device.netns,
            Html(if shown.vm.is_empty() { "—" } else { &shown.vm }),
            shown.queues.len()
        )?;
        for rate in [device.tx_rate, device.rx_rate] {
            let number = |of: fn(&Rate) -> f64| rate.as_ref().map_or("—".to_owned(), |rate| si(of(rate)));
            write!(out, "<td>{}<td>{}", number(|rate| rate.pps), number(|rate| rate.bps))?;
        }
        let drops = [device.tx_rate, device.rx_rate].into_iter().flatten().filter_map(|rate| rate.drops);
        writeln!(out, "<td>{}</tr>", drops.reduce(|a, b| a + b).map_or("—".to_owned(), si))?;
    }
    out.push_str("</table>\n");
    if devices.len() > DEVICES {
        writeln!(out, "<p>{} more in /report.json</p>", devices.len() - DEVICES)?;
    }
    Ok(())
}

/// Text that a page shows as it is: names hold anything.
struct Html<'a>(&'a str);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Names that steer a terminal or turn the text round.
                c if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) => f.write_str("\u{fffd}")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
