//! The TLS certificate, reloaded when its files change.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use axum_server::tls_rustls::RustlsConfig;

/// The modification time and the size of a file, through links; `None` when it does not exist.
type FileState = Option<(SystemTime, u64)>;

/// The certificate in force and the files that it was read from.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(super) config: RustlsConfig,
    pub(super) cert: PathBuf,
    key: PathBuf,
    /// The states of both files before they were read, so that a write during the read is detected later.
    loaded: [FileState; 2],
}

impl Tls {
    /// Reads a certificate chain and its key.
    pub(super) async fn read(cert: &Path, key: &Path) -> std::io::Result<Self> {
        // A second call has no effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let loaded = [cert, key].map(file_state);
        let config = RustlsConfig::from_pem_file(cert, key).await?;
        Ok(Self { config, cert: cert.to_owned(), key: key.to_owned(), loaded })
    }

    /// Reloads the files if they have changed; `false` when they have not.
    pub(super) async fn reload_if_changed(&mut self) -> std::io::Result<bool> {
        let current = [&self.cert, &self.key].map(|path| file_state(path));
        if current == self.loaded {
            return Ok(false);
        }
        self.config.reload_from_pem_file(&self.cert, &self.key).await?;
        self.loaded = current;
        Ok(true)
    }
}

fn file_state(path: &Path) -> FileState {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
