//! The authenticated channel's material: keys, pins, and what TLS has to be told about them.
//!
//! Each side owns one Ed25519 key pair ([`KeyPair`], kept by [`load_or_create`]) and a list of public keys that it
//! trusts ([`Peers`]). [`client_config`] and [`server_config`] turn both into rustls configurations: mutual TLS 1.3
//! with raw public keys (RFC 7250), pinned on both sides, and no other mode. Certificates, validity dates, passwords
//! and tokens do not occur.
//!
//! Sockets, HTTP and the pairing of two machines live elsewhere; nothing here waits for a network.

mod error;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod keys;
mod peers;
mod state_file;
mod store;
mod tls;

pub use error::{Refusal, StoreError};
pub use files::Stamp;
pub use keys::{KeyError, KeyPair, ParsePublicKeyError, PublicKey};
pub use peers::{PEERS_FILE, Peers, stamp, trust, untrust};
pub use state_file::{read_state_file, replace_state_file};
pub use store::{KEY_FILE, load_or_create};
pub use tls::{ALPN, Pins, SERVER_NAME, TlsError, alpn_agreed, client_config, peer_key, server_config};
