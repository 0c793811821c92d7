//! Who may ask, and how it is kept secret: the web configuration file that Prometheus' own programs read.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher, RandomState},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

/// The file; what Prometheus knows and this does not is refused, not ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tls_server_config: Option<Tls>,
    #[serde(default)]
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    cert_file: PathBuf,
    key_file: PathBuf,
    min_version: Option<Version>,
}

#[derive(Deserialize, PartialEq, Eq)]
enum Version {
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// Who may ask; everybody, over plain HTTP, unless a file says otherwise.
#[derive(Default)]
pub struct Web {
    pub(super) tls: Option<TlsAcceptor>,
    users: Option<Arc<Users>>,
}

/// Names and hashes of passwords, and which of them were shown lately.
struct Users {
    hashes: BTreeMap<String, String>,
    /// Checked at a name that there is not, so that it takes as long.
    decoy: String,
    /// What was let in before, told apart by a hash with a key of this process: bcrypt takes long on purpose.
    known: Mutex<HashSet<u64>>,
    key: RandomState,
}

/// Passwords that are remembered.
const KNOWN: usize = 100;

impl Web {
    /// As the file says.
    ///
    /// # Errors
    /// It cannot be read, has a key or value that is not known, or names files that are no certificate and key.
    pub fn read(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot use the web configuration {}", path.display());
        let text = fs::read_to_string(path).with_context(cannot)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("."))).with_context(cannot)
    }

    fn parse(text: &str, folder: &Path) -> Result<Self> {
        let file: File = serde_saphyr::from_str(text)?;
        for (user, hash) in &file.basic_auth_users {
            let sound = hash.parse::<bcrypt::HashParts>().is_ok();
            ensure!(
                sound,
                "basic_auth_users: what {user} has is no bcrypt hash (make one with `htpasswd -nB`)"
            );
        }
        let tls = file.tls_server_config.map(|tls| tls.acceptor(folder)).transpose()?;
        let users = (!file.basic_auth_users.is_empty()).then_some(file.basic_auth_users);
        let users = users.map(|hashes| {
            let decoy = hashes.values().next().cloned().unwrap_or_default();
            Arc::new(Users { hashes, decoy, known: Mutex::default(), key: RandomState::new() })
        });
        Ok(Self { tls, users })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether who sent this `Authorization` may ask.
    pub(super) async fn admits(&self, authorization: Option<&str>) -> bool {
        let Some(users) = &self.users else { return true };
        let shown = authorization.and_then(|text| {
            let (scheme, encoded) = text.split_once(' ')?;
            let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
            scheme.eq_ignore_ascii_case("basic").then_some(String::from_utf8(decoded).ok()?)
        });
        let Some(shown) = shown else { return false };
        let users = Arc::clone(users);
        // Off the thread that counts: a check takes tens of milliseconds.
        tokio::task::spawn_blocking(move || users.admit(&shown)).await.unwrap_or(false)
    }
}

impl Users {
    fn admit(&self, shown: &str) -> bool {
        let mut hasher: DefaultHasher = std::hash::BuildHasher::build_hasher(&self.key);
        shown.hash(&mut hasher);
        let seal = hasher.finish();
        // One check at a time, whoever asks: guessing does not take the machine.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&seal) {
            return true;
        }
        let Some((user, password)) = shown.split_once(':') else { return false };
        let hash = self.hashes.get(user);
        let right = bcrypt::verify(password, hash.unwrap_or(&self.decoy)).unwrap_or(false) && hash.is_some();
        if right {
            if known.len() >= KNOWN {
                known.clear();
            }
            known.insert(seal);
        }
        right
    }
}

impl Tls {
    fn acceptor(&self, folder: &Path) -> Result<TlsAcceptor> {
        let (cert, key) = (folder.join(&self.cert_file), folder.join(&self.key_file));
        let chain = CertificateDer::pem_file_iter(&cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(|| format!("cert_file {}", cert.display()))?;
        if chain.is_empty() {
            bail!("cert_file {}: no certificate is in it", cert.display());
        }
        let secret =
            PrivateKeyDer::from_pem_file(&key).with_context(|| format!("key_file {}", key.display()))?;
        let both: &[_] = if self.min_version == Some(Version::Tls13) { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(both)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .context("certificate and key do not fit")?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        format!("{:#}", Web::parse(text, Path::new("/nowhere")).err().expect(text))
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        assert!(told("basic_auth_user: {}").contains("basic_auth_user"));
        assert!(told("http_server_config: {http2: true}").contains("http_server_config"));
        let tls = "tls_server_config: {cert_file: c.pem, key_file: k.pem";
        assert!(told(&format!("{tls}, client_ca_file: x}}")).contains("client_ca_file"));
        assert!(told(&format!("{tls}, min_version: TLS10}}")).contains("TLS12"));
        assert!(told(&format!("{tls}}}")).contains("/nowhere/c.pem"));
        let told = told("basic_auth_users: {ann: secret}");
        assert!(told.contains("ann") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn only_who_knows_the_password_is_admitted() {
        let hash = bcrypt::hash("pass:word", 4).unwrap();
        let web = Web::parse(&format!("basic_auth_users: {{ann: '{hash}'}}"), Path::new(".")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let admits = |text: &str| {
            let header = format!("Basic {}", BASE64_STANDARD.encode(text));
            runtime.block_on(web.admits(Some(&header)))
        };
        for _ in 0..2 {
            assert!(admits("ann:pass:word"));
            for wrong in ["ann:pass", "ann:", "ann", "", "bob:pass:word", "Ann:pass:word", "ann:pass:word "] {
                assert!(!admits(wrong), "{wrong}");
            }
        }
        for header in [None, Some(""), Some("Basic"), Some("Basic !!!"), Some("Bearer YW5uOnBhc3M6d29yZA==")]
        {
            assert!(!runtime.block_on(web.admits(header)), "{header:?}");
        }
        assert!(runtime.block_on(Web::default().admits(None)));
    }
}
