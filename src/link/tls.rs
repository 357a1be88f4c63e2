//! What rustls is told: the TLS profile of the channel, and nothing that could be switched off.
//!
//! TLS 1.3, raw Ed25519 public keys both ways (RFC 7250), each side accepts pinned keys only, ALPN `wslnet/1`, and
//! no resumption, tickets, early data or server name. The pin alone proves nothing, for public keys are public: what
//! proves possession of the private key is the handshake signature, and both verifiers check it.

mod identity;
mod verify;

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, ServerConfig};

use crate::keys::{KeyPair, PublicKey};
use crate::peers::Peers;
use identity::RawKeyIfAlpn;
use verify::{PinnedClient, PinnedServer};

/// The host name in URLs and in the `Host` header. It is never looked up and never sent in the TLS handshake.
pub const SERVER_NAME: &str = "wslnet.internal";

/// The application protocol that both sides must agree on (RFC 7301).
pub const ALPN: &[u8] = b"wslnet/1";

/// The public keys that a server lets in. Asked at every handshake, so the answer may change while the server runs.
pub trait Pins: Send + Sync + Debug {
    /// Whether this key is trusted right now.
    fn contains(&self, key: &PublicKey) -> bool;
}

impl Pins for Peers {
    fn contains(&self, key: &PublicKey) -> bool {
        self.name_of(key).is_some()
    }
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The TLS library cannot use the private key.
    #[error("the TLS library does not accept the key")]
    Key(#[source] rustls::Error),
    /// The TLS library lacks a cipher suite for TLS 1.3.
    #[error("the TLS library does not offer TLS 1.3")]
    Version(#[source] rustls::Error),
}

/// The configuration of a client that shows the key `own` and talks to the owner of `pin` only. Connect it with
/// [`SERVER_NAME`].
///
/// # Errors
/// The TLS library rejects the key or the profile; not with keys made by [`KeyPair`].
pub fn client_config(own: &KeyPair, pin: PublicKey) -> Result<ClientConfig, TlsError> {
    client_config_showing(identity::certified(own)?, pin)
}

/// The configuration of a server that shows the key `own` and lets in the owners of `pins` only.
///
/// A client that does not offer [`ALPN`] is refused in the handshake.
///
/// # Errors
/// The TLS library rejects the key or the profile; not with keys made by [`KeyPair`].
pub fn server_config(own: &KeyPair, pins: Arc<dyn Pins>) -> Result<ServerConfig, TlsError> {
    server_config_showing(identity::certified(own)?, pins)
}

/// Whether the finished handshake agreed on [`ALPN`]. rustls refuses two lists that do not meet, but lets a side pass
/// that sent none.
pub fn alpn_agreed(conn: &CommonState) -> bool {
    conn.alpn_protocol() == Some(ALPN)
}

/// The key that the other side showed. It has proved to own it once the handshake is over
/// (`!conn.is_handshaking()`).
pub fn peer_key(conn: &CommonState) -> Option<PublicKey> {
    match conn.peer_certificates()? {
        [spki] => PublicKey::from_spki(spki),
        _ => None,
    }
}

fn client_config_showing(identity: Arc<CertifiedKey>, pin: PublicKey) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedServer::new(pin)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(config)
}

fn server_config_showing(identity: Arc<CertifiedKey>, pins: Arc<dyn Pins>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .with_client_cert_verifier(Arc::new(PinnedClient::new(pins)))
        .with_cert_resolver(Arc::new(RawKeyIfAlpn::new(identity)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Always ring, whatever another part of the program made the default of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
