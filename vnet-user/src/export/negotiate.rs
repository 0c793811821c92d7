//! Which format a client asks for.

/// Whether a client that sent this `Accept` is to be given OpenMetrics: it names it, and likes nothing better.
pub(super) fn openmetrics(accept: &str) -> bool {
    let mut wanted = 0.0;
    let mut plain = 0.0_f32;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut spoken) = (1.0, true);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.trim().parse::<f32>().ok().filter(|q| q.is_finite()).unwrap_or(0.0),
                "version" => spoken = matches!(value.trim().trim_matches('"'), "1.0.0" | "0.0.1"),
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if spoken => wanted = quality.max(wanted),
            "text/plain" => plain = quality.max(plain),
            _ => {}
        }
    }
    wanted > 0.0 && wanted >= plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_it_gets_it() {
        for (accept, wanted) in [
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", false),
            ("text/plain", false),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", true),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=nan,text/plain", false),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", false),
            // Prometheus 2.42 and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
        ] {
            assert_eq!(openmetrics(accept), wanted, "{accept:?}");
        }
    }
}
