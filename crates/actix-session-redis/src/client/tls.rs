//! What TLS by rustls needs before its first connection.

use rustls::crypto::{CryptoProvider, ring};

/// rustls panics when it finds none, or several to choose from. One that the application has
/// installed stays.
pub(crate) fn choose_a_crypto_provider() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have been faster; then there is one as well.
        let _ = ring::default_provider().install_default();
    }
}
