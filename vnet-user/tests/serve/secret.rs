//! TLS and passwords, from Prometheus' own kind of file, in front of curl and a real Prometheus.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use vnet_driver::need;

use crate::{
    live, prometheus,
    prometheus::Prometheus,
    run::{PATIENCE, Serve, ask},
};

/// bcrypt of "open sesame", cost 5.
fn hash() -> Result<String> {
    Ok(bcrypt::hash("open sesame", 5)?)
}

/// A folder with a certificate, its key and the file that names them.
fn folder() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    fs::write(folder.path().join("cert.pem"), made.cert.pem())?;
    fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
    let text = format!(
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prom: {}\n",
        hash()?
    );
    fs::write(folder.path().join("web.yml"), text)?;
    Ok(folder)
}

/// Status that curl is given; 000 without an answer.
fn curl(vnet: &Serve, folder: &TempDir, arguments: &[&str]) -> Result<String> {
    let output = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "20"])
        .arg("--cacert")
        .arg(folder.path().join("cert.pem"))
        .args(arguments)
        .arg(format!("https://localhost:{}/metrics", vnet.address.port()))
        .output()
        .context("cannot run curl")?;
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn only_who_has_the_password_and_speaks_tls_is_answered() -> Result<()> {
    need!(live());
    need!(prometheus().err());
    let programs = prometheus().map_err(anyhow::Error::msg)?;
    let folder = folder()?;
    let file = folder.path().join("web.yml");
    let vnet = Serve::start(&["--web-config", file.to_str().context("text")?])?;
    assert!(vnet.heard.contains("listening at https://"), "{}", vnet.heard);
    let cert = folder.path().join("cert.pem");
    let server = Prometheus::start(
        &programs,
        &format!(
            "    scheme: https\n    tls_config: {{ca_file: '{}', server_name: localhost}}\n    basic_auth: {{username: prom, \
             password: open sesame}}\n    static_configs: [{{targets: ['{}']}}]\n",
            cert.display(),
            vnet.address
        ),
        &[],
    )?;
    server.becomes("up", Some(1.0))?;
    if Command::new("curl").arg("--version").output().is_ok() {
        assert_eq!(curl(&vnet, &folder, &["--user", "prom:open sesame"])?, "200");
        assert_eq!(curl(&vnet, &folder, &["--user", "prom:open", "--max-time", "20"])?, "401");
        assert_eq!(curl(&vnet, &folder, &[])?, "401");
    } else {
        eprintln!("skipped: curl is not there to be refused");
    }
    // Who does not speak TLS is not answered; whoever is silent or talks nonsense meanwhile keeps nobody out.
    let silent = (0..200).map(|_| Ok(TcpStream::connect(vnet.address)?)).collect::<Result<Vec<_>>>()?;
    let answer = ask(vnet.address, b"GET /metrics HTTP/1.1\r\nHost: vnet\r\n\r\n")?;
    assert!(!answer.contains("vnet_"), "{answer}");
    let mut stream = TcpStream::connect(vnet.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[0x16, 3, 1, 0xff, 0xff])?;
    let _refused = stream.write_all(&vec![0; 1 << 16]);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    drop(silent);
    server.becomes("min_over_time(up[10s])", Some(1.0))?;
    server.becomes("vnet_http_refused_total{reason=\"handshake\"} >= bool 2", Some(1.0))?;
    server.becomes("vnet_http_refused_total{reason=\"unauthorized\"} == 2", Some(2.0))?;
    let (status, said) = vnet.end()?;
    assert!(status.success() && !said.contains("sesame"), "{said}");
    Ok(())
}

#[test]
fn a_file_with_a_mistake_is_told_before_anything_is_loaded() -> Result<()> {
    let folder = folder()?;
    let file = folder.path().join("web.yml");
    fs::write(&file, "basic_auth_users: {}\ntls_server_confg: {}\n")?;
    let vnet = Command::new(env!("CARGO_BIN_EXE_vnet"))
        .args(["serve", "--listen", "127.0.0.1:0", "--web-config"])
        .arg(&file)
        .output()?;
    let said = String::from_utf8(vnet.stderr)?;
    assert_eq!(vnet.status.code(), Some(2), "{said}");
    for part in ["web.yml", "tls_server_confg", "tls_server_config", "2"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    Ok(())
}
