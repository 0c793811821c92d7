//! Clients of all kinds: whatever they do, it is bounded, and the scrape goes on.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result};
use vnet_driver::need;

use crate::{
    live,
    run::{PATIENCE, Serve, ask},
};

fn refused(vnet: &Serve, reason: &str) -> Result<usize> {
    let text = vnet.body("/metrics")?;
    let start = format!("vnet_http_refused_total{{reason=\"{reason}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&start)).context("no such reason")?;
    Ok(value.parse()?)
}

#[test]
fn only_what_there_is_is_answered() -> Result<()> {
    need!(live());
    let vnet = Serve::start(&[])?;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/metrics?x=/../etc/passwd", "text/plain; version=0.0.4; charset=utf-8"),
        ("/report.json", "application/json"),
        ("/healthz", "text/plain; charset=utf-8"),
    ] {
        let (head, body) = vnet.get(path, "")?;
        assert!(head.starts_with("http/1.1 200 ") && !body.is_empty(), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {kind}\r\n")), "{path}: {head}");
    }
    for path in ["/../etc/passwd", "/%2e%2e/etc/passwd", "//metrics", "/metrics/", "/METRICS", "/metrics%00"]
    {
        let (head, _) = vnet.get(path, "")?;
        assert!(head.starts_with("http/1.1 404 "), "{path}: {head}");
    }
    let host = "HTTP/1.1\r\nHost: vnet\r\n";
    let head = ask(vnet.address, format!("HEAD /metrics {host}\r\n").as_bytes())?;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = format!("POST /metrics {host}Content-Length: 99999999999\r\n\r\n");
    let answer = ask(vnet.address, post.as_bytes())?;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
    assert_eq!(refused(&vnet, "unknown")?, 7);
    Ok(())
}

#[test]
fn what_is_no_request_or_too_large_a_one_is_refused() -> Result<()> {
    need!(live());
    let vnet = Serve::start(&[])?;
    let long = "x".repeat(1 << 20);
    let many = "X: y\r\n".repeat(1000);
    for bytes in [
        format!("GET / HTTP/1.1\r\nHost: vnet\r\nX-Long: {long}\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: vnet\r\n{many}\r\n").into_bytes(),
        format!("GET /{long} HTTP/1.1\r\nHost: vnet\r\n\r\n").into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
    ] {
        let answer = ask(vnet.address, &bytes)?;
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(
            ["400", "414", "431", "closed"].contains(&status),
            "{:?}: {answer}",
            &bytes[..40.min(bytes.len())]
        );
    }
    assert_eq!(refused(&vnet, "malformed")?, 6);
    Ok(())
}

/// Peers that connect and say nothing, or half of something, while others scrape.
#[test]
fn a_thousand_idle_connections_do_not_keep_a_scrape_out() -> Result<()> {
    need!(live());
    let vnet = Serve::start(&[])?;
    let idle = (0..1000)
        .map(|n| {
            let mut stream = TcpStream::connect(vnet.address)?;
            if n % 2 == 1 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHo")?;
            }
            if n % 100 == 0 {
                assert!(vnet.body("/metrics")?.contains("vnet_devices "));
            }
            Ok(stream)
        })
        .collect::<Result<Vec<_>>>()?;
    let crowded = refused(&vnet, "crowded")?;
    assert!(crowded >= 1000 - vnet::export::CONNECTIONS, "{crowded}");
    // Those that still have their place lose it in the end.
    for mut stream in idle {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "nothing was asked");
    }
    assert!(refused(&vnet, "slow")? >= 1);
    let text = vnet.body("/metrics")?;
    let open =
        text.lines().find_map(|line| line.strip_prefix("process_open_fds ")).context("no descriptors")?;
    assert!(open.parse::<u32>()? < 200, "{open} descriptors are open");
    Ok(())
}
