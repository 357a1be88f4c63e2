//! What a side shows of itself in the handshake: its raw public key.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsError;
use crate::keys::KeyPair;

/// The key pair as rustls wants it: in place of a certificate chain the one SubjectPublicKeyInfo.
pub(super) fn certified(own: &KeyPair) -> Result<Arc<CertifiedKey>, TlsError> {
    let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(own.pkcs8())).map_err(TlsError::Key)?;
    let spki = CertificateDer::from(own.public().to_spki().to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![spki], signer)))
}

/// The server's key, for clients that say which protocol they want. rustls itself refuses a list without ours, but lets
/// a client without any list pass; such a client gets no key here, and with that no handshake.
#[derive(Debug)]
pub(super) struct RawKeyIfAlpn(Arc<CertifiedKey>);

impl RawKeyIfAlpn {
    pub(super) fn new(identity: Arc<CertifiedKey>) -> Self {
        Self(identity)
    }
}

impl ResolvesServerCert for RawKeyIfAlpn {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.alpn().map(|_| Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}
