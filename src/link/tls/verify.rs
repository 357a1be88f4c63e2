//! The two verifiers: is the key pinned, and did its owner sign this handshake?
//!
//! Neither ever vouches for a signature by itself. Time, names and chains of certificates play no part.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
};

use super::{Pins, provider};
use crate::keys::PublicKey;

/// The client's side: one server, one key.
#[derive(Debug)]
pub(super) struct PinnedServer {
    pin: PublicKey,
}

impl PinnedServer {
    pub(super) fn new(pin: PublicKey) -> Self {
        Self { pin }
    }
}

/// The server's side: any of the pinned keys.
#[derive(Debug)]
pub(super) struct PinnedClient {
    pins: Arc<dyn Pins>,
}

impl PinnedClient {
    pub(super) fn new(pins: Arc<dyn Pins>) -> Self {
        Self { pins }
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if shown_key(end_entity, intermediates)? != self.pin {
            return Err(not_pinned());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PinnedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.pins.contains(&shown_key(end_entity, intermediates)?) {
            return Err(not_pinned());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The one key that the peer showed. A raw public key has no chain (RFC 8446, section 4.4.2).
fn shown_key(spki: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<PublicKey, Error> {
    if !rest.is_empty() {
        return Err(CertificateError::BadEncoding.into());
    }
    PublicKey::from_spki(spki).ok_or_else(|| CertificateError::BadEncoding.into())
}

fn verify_signature(
    message: &[u8],
    spki: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if dss.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, dss, &provider().signature_verification_algorithms)
}

/// Sent to the peer as the alert `access_denied`.
fn not_pinned() -> Error {
    CertificateError::ApplicationVerificationFailure.into()
}

/// Never asked for: the configurations offer TLS 1.3 only.
fn no_tls12() -> Error {
    Error::General("TLS 1.2 is off".to_owned())
}
