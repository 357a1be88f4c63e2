//! The authenticated channel's material: keys, pins, and what TLS has to be told about them.
//!
//! Each side owns one Ed25519 key pair ([`KeyPair`], kept by [`load_or_create`]) and a list of public keys that it
//! trusts ([`Peers`]). [`client_config`] and [`server_config`] turn both into rustls configurations: mutual TLS 1.3
//! with raw public keys (RFC 7250), pinned on both sides, and no other mode. Certificates, validity dates, passwords
//! and tokens do not occur.
//!
//! [`Offer`] and [`Reply`] are what two programs say to each other to learn the keys. Sockets and HTTP live elsewhere, and so do
//! the programs that carry a pairing; nothing here waits for a network.

mod error;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod keys;
mod pairing;
mod peers;
mod state_file;
mod store;
mod tls;

pub use error::{Refusal, StoreError};
pub use files::Stamp;
pub use keys::{KeyError, KeyPair, ParsePublicKeyError, PublicKey};
pub use pairing::{
    Offer, PAIRING_LINE_BYTES, PAIRING_VERSION, PairingError, Reply, pairing_fingerprint, read_offer,
    read_reply, write_line,
};
pub use peers::{PEERS_FILE, Peers, is_peer_name, stamp, trust, untrust};
pub use state_file::{read_state_file, replace_state_file};
pub use store::{KEY_FILE, load_or_create};
pub use tls::{ALPN, Pins, SERVER_NAME, TlsError, alpn_agreed, client_config, peer_key, server_config};
