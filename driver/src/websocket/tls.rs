//! Whom a client trusts, unless it says so itself.

use super::rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::sync::{Arc, Mutex, PoisonError};

/// A configuration for clients that trusts whom the system trusts. What is found is kept
/// for the process.
///
/// # Errors
/// In words, if there are none, or they cannot be read.
pub fn system_roots() -> Result<Arc<ClientConfig>, String> {
    static FOUND: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = &*found {
        return Ok(config.clone());
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(loaded.certs);
    if taken == 0 {
        let why = loaded.errors.first().map(ToString::to_string);
        return Err(why.unwrap_or_else(|| String::from("there are none")));
    }
    let config = client_config(roots)?;
    *found = Some(config.clone());
    Ok(config)
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
