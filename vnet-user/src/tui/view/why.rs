//! Why something of a queue is not known, in a sentence.

use crate::{
    report::{DeviceReport, Known, Report},
    tui::{look::Look, text},
};

/// Why what these signals tell of a device is not known: the first of them that is not measured says so.
pub(super) fn unknown(
    report: &Report,
    device: Option<&DeviceReport>,
    signals: &[&str],
    look: Look,
) -> String {
    if signals.iter().any(|signal| signal.starts_with("vhost."))
        && device.and_then(|device| device.vhost) == Some(false)
    {
        return "vhost does not serve this device".to_owned();
    }
    for signal in signals {
        match report.probes.iter().find(|probe| probe.signal == *signal) {
            None => return format!("this source does not measure {signal}"),
            Some(probe) if probe.state == Known::Unavailable => {
                let reason = probe.reason.as_deref().unwrap_or("it is not available");
                return format!("{signal}: {}", text::clean(reason, look.ascii));
            }
            Some(_) => {}
        }
    }
    "nothing of it has been seen so far".to_owned()
}
