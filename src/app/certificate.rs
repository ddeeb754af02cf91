//! The TLS certificate, reloaded when its files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

use super::validity::not_after;
use crate::domain::{Clock, rfc3339};

/// The protocols that the handshake offers, in order.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How long before a certificate expires this is logged.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 86_400);

/// Why a certificate or its key cannot be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not have what it should.
    #[error("{path} has no {expected}: {found}")]
    Content {
        /// The file.
        path: PathBuf,
        /// A certificate, or a private key.
        expected: &'static str,
        /// What it has instead.
        found: String,
    },
    /// A certificate or a key is damaged, or of a kind that is not supported.
    #[error("{path} cannot be used: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The key is that of another certificate.
    #[error("{key} is not the key of the first certificate in {cert}")]
    Mismatch {
        /// The file with the certificate chain.
        cert: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
}

/// When the certificate in force expires.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateExpiry(Arc<AtomicU64>);

impl CertificateExpiry {
    /// Seconds since 1970; 0 when the certificate does not say it in a known form.
    pub(crate) fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, time: Option<SystemTime>) {
        let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.0.store(since.map_or(0, |since| since.as_secs()), Ordering::Relaxed);
    }

    /// What operators need to know about it now: that it has expired, or does so soon.
    pub(crate) fn problem(&self, now: SystemTime) -> Option<String> {
        let seconds = Some(self.unix_seconds()).filter(|seconds| *seconds > 0)?;
        let expiry = UNIX_EPOCH + Duration::from_secs(seconds);
        match expiry.duration_since(now) {
            Err(_) => Some(format!("it expired on {}; clients refuse it", rfc3339(expiry))),
            Ok(left) if left < EXPIRY_WARNING => Some(format!("it expires on {}", rfc3339(expiry))),
            Ok(_) => None,
        }
    }
}

/// The modification time and the size of a file, through links; `None` when it does not exist.
type FileState = Option<(SystemTime, u64)>;

/// The certificate in force and the files that it was read from.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(super) config: RustlsConfig,
    pub(super) cert: PathBuf,
    key: PathBuf,
    expiry: CertificateExpiry,
    /// The states of both files before they were read, so that a write during the read is detected later.
    loaded: [FileState; 2],
}

impl Tls {
    /// Reads a certificate chain and its key.
    pub(super) fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        // A second call has no effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let loaded = [cert, key].map(file_state);
        let (config, expires) = load(cert, key)?;
        let expiry = CertificateExpiry::default();
        expiry.set(expires);
        let config = RustlsConfig::from_config(Arc::new(config));
        Ok(Self { config, cert: cert.to_owned(), key: key.to_owned(), expiry, loaded })
    }

    /// When the certificate in force expires. Follows a reload.
    pub(crate) fn expiry(&self) -> &CertificateExpiry {
        &self.expiry
    }

    /// Reloads the files if they have changed, or `always`; `false` when they have not.
    pub(super) fn reload(&mut self, always: bool) -> Result<bool, TlsError> {
        let current = [&self.cert, &self.key].map(|path| file_state(path));
        if current == self.loaded && !always {
            return Ok(false);
        }
        let (config, expires) = load(&self.cert, &self.key)?;
        self.config.reload_from_config(Arc::new(config));
        self.expiry.set(expires);
        self.loaded = current;
        Ok(true)
    }

    /// Logs that the certificate has expired or does so soon.
    pub(super) fn log_expiry(&self) {
        if let Some(problem) = self.expiry.problem(Clock::system().now()) {
            tracing::error!(cert = %self.cert.display(), "the certificate needs to be renewed: {problem}");
        }
    }
}

/// The configuration of a certificate chain with its key, and when the certificate expires.
fn load(cert: &Path, key: &Path) -> Result<(ServerConfig, Option<SystemTime>), TlsError> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Unusable { path, source }
    };
    let chain_text = read(cert)?;
    let key_text = zeroize::Zeroizing::new(read(key)?);
    let content = |path: &Path, expected, text: &[u8]| {
        let path = path.to_owned();
        TlsError::Content { path, expected, found: found_instead(text) }
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain_text)
        .collect::<Result<_, _>>()
        .map_err(|_| content(cert, "certificate", &chain_text))?;
    let first = chain.first().cloned().ok_or_else(|| content(cert, "certificate", &chain_text))?;
    let key_der =
        PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| content(key, "private key", key_text.as_slice()))?;
    any_supported_type(&key_der).map_err(unusable(key))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key_der);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
        }
        error => unusable(cert)(error),
    })?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok((config, not_after(&first)))
}

/// What a file has instead of what is needed: the labels of its PEM sections. Never their content.
fn found_instead(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let labels = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let labels: Vec<&str> = labels.take(4).collect();
    match labels.as_slice() {
        [] => "it is not PEM (a text with a line such as -----BEGIN CERTIFICATE-----)".to_owned(),
        labels if labels.iter().any(|label| label.starts_with("ENCRYPTED")) => {
            "its key is encrypted; `openssl pkey -in FILE -out NEW` removes the passphrase".to_owned()
        }
        labels => format!("it has {}, or is damaged", labels.join(", ")),
    }
}

fn file_state(path: &Path) -> FileState {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong_with_it() {
        let files = Files { dir: tempfile::tempdir().unwrap() };
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let cert = files.write("cert.pem", &made.cert.pem());
        let key = files.write("key.pem", &made.signing_key.serialize_pem());
        let other = files.write("other.pem", &other.signing_key.serialize_pem());
        let empty = files.write("empty.pem", "");
        let encrypted = files.write(
            "encrypted.pem",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        let damaged = files.write("damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let missing = files.dir.path().join("missing.pem");
        assert!(Tls::read(&cert, &key).is_ok());
        for (cert, key, words) in [
            (&missing, &key, ["missing.pem", "cannot be read"]),
            (&cert, &missing, ["missing.pem", "cannot be read"]),
            (&empty, &key, ["empty.pem", "no certificate: it is not PEM"]),
            (&key, &key, ["key.pem", "no certificate: it has PRIVATE KEY"]),
            (&cert, &cert, ["cert.pem", "no private key: it has CERTIFICATE"]),
            (&cert, &encrypted, ["encrypted.pem", "is encrypted"]),
            (&cert, &other, ["other.pem", "is not the key of the first certificate in"]),
            (&damaged, &key, ["damaged.pem", "cannot be used"]),
        ] {
            let text = Tls::read(cert, key).err().unwrap().to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
        }
    }

    #[test]
    fn an_expiry_is_a_problem_when_it_is_near_or_past() {
        let expiry = CertificateExpiry::default();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(expiry.problem(now), None, "unknown");
        let day = Duration::from_secs(86_400);
        expiry.set(Some(now + 15 * day));
        assert_eq!(expiry.problem(now), None);
        assert!(expiry.problem(now + 2 * day).unwrap().starts_with("it expires on 2027-01-"));
        assert!(expiry.problem(now + 16 * day).unwrap().starts_with("it expired on 2027-01-"));
    }
}
