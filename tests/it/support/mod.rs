//! What several tests need.

pub(crate) mod postgres;

use std::sync::Once;

/// Chooses the cryptography of the tests' HTTP client, once per process.
pub(crate) fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
