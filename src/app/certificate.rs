//! The certificate, and whether its files have changed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use axum_server::tls_rustls::RustlsConfig;

/// When a file was changed, and its size; links are followed. `None`: it is not there.
type State = Option<(SystemTime, u64)>;

/// The certificate in force, and the files that it was read from.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(super) config: RustlsConfig,
    pub(super) cert: PathBuf,
    key: PathBuf,
    /// The files as they were before they were read: what is written meanwhile is seen by the next look.
    known: (State, State),
}

impl Tls {
    /// Reads a chain and its key.
    pub(super) async fn read(cert: &Path, key: &Path) -> std::io::Result<Self> {
        // The one cryptography in the program; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let known = (state(cert), state(key));
        let config = RustlsConfig::from_pem_file(cert, key).await?;
        Ok(Self { config, cert: cert.to_owned(), key: key.to_owned(), known })
    }

    /// Puts what the files hold in force if they have changed; false when they have not.
    pub(super) async fn renew(&mut self) -> std::io::Result<bool> {
        let now = (state(&self.cert), state(&self.key));
        if now == self.known {
            return Ok(false);
        }
        self.config.reload_from_pem_file(&self.cert, &self.key).await?;
        self.known = now;
        Ok(true)
    }
}

fn state(path: &Path) -> State {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
