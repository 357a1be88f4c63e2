//! Only the owner of a trusted key gets as far as HTTP. Everybody else gets a TLS alert and nothing more.

use std::io;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wslnet_link::{KeyPair, PublicKey};

use crate::bench::{
    A_SECOND, Companion, Request, SOON, Session, Wire, check, client_config, eventually, hello, key,
};

#[tokio::test]
async fn an_unknown_key_is_refused() {
    let (debian, stranger) = (key(), key());
    let companion = Companion::start(&[("debian", debian.public())]);

    let refused = refusal(&companion, client_config(&companion, &stranger)).await;

    assert_eq!(refused, AlertDescription::AccessDenied);
    assert_eq!(companion.distros().await, [""; 0]);
    assert_healthy(&companion, &debian).await;
}

#[tokio::test]
async fn no_key_is_refused() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut config = client_config(&companion, &debian);
    config.client_auth_cert_resolver = Arc::new(ShowsNothing);

    let refused = refusal(&companion, config).await;

    assert_eq!(refused, AlertDescription::CertificateRequired);
    assert_healthy(&companion, &debian).await;
}

#[tokio::test]
async fn a_trusted_public_key_without_its_private_half_is_refused() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut config = client_config(&companion, &debian);
    config.client_auth_cert_resolver = Arc::new(Thief::of(debian.public()));

    let refused = refusal(&companion, config).await;

    assert_eq!(refused, AlertDescription::DecryptError);
    assert_healthy(&companion, &debian).await;
}

#[tokio::test]
async fn a_client_that_names_no_protocol_or_another_one_is_refused() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);

    for (offered, expected) in [
        (vec![], AlertDescription::AccessDenied),
        (
            vec![b"http/1.1".to_vec(), b"h2".to_vec()],
            AlertDescription::NoApplicationProtocol,
        ),
    ] {
        let mut config = client_config(&companion, &debian);
        config.alpn_protocols = offered;
        assert_eq!(refusal(&companion, config).await, expected);
    }

    assert_healthy(&companion, &debian).await;
}

#[tokio::test]
async fn a_client_does_not_speak_to_another_companion() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let config = wslnet_link::client_config(&debian, key().public()).unwrap();

    let stream = TcpStream::connect(companion.address).await.unwrap();
    let refused = Wire::over(stream, config).await.unwrap_err();

    let expected =
        rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure);
    assert_eq!(tls_error(&refused), Some(&expected), "{refused}");
}

#[tokio::test]
async fn plain_http_gets_an_alert_and_nothing_else() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);

    for request in [
        &Request::open(&hello()).bytes()[..],
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        let answer = bytes_answered(&companion, request).await;
        // One record: alert (21), TLS 1.2 on the record layer, two bytes, fatal (2), decode_error (50).
        assert_eq!(
            answer,
            [21, 3, 3, 0, 2, 2, 50],
            "{}",
            String::from_utf8_lossy(request)
        );
    }

    assert_eq!(companion.distros().await, [""; 0]);
    assert_healthy(&companion, &debian).await;
}

#[tokio::test]
async fn tls_1_2_gets_an_alert_and_nothing_else() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);

    let answer = bytes_answered(&companion, &tls12_hello()).await;

    // Fatal (2), protocol_version (70).
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
    assert_healthy(&companion, &debian).await;
}

#[tokio::test]
async fn a_recorded_session_is_worth_nothing() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let recorded = record(&companion, &debian).await;
    let unconnected = async || {
        let (status, _) = companion.report().await;
        let connected = status.distros.iter().any(|distro| distro.connected);
        check(!connected, || format!("{status:?}"))
    };
    eventually(A_SECOND, unconnected).await;

    for length in [recorded.len(), recorded.len() / 2, recorded.len() - 1] {
        let answer = bytes_answered(&companion, &recorded[..length]).await;
        assert!(!answer.windows(4).any(|four| four == b"HTTP"));
    }

    assert_eq!(unconnected().await, Ok(()));
    assert_healthy(&companion, &debian).await;
}

/// Tries to open a session and hands out the alert with which the companion refused the handshake.
async fn refusal(companion: &Companion, config: ClientConfig) -> AlertDescription {
    let stream = TcpStream::connect(companion.address).await.unwrap();
    let attempt = async {
        let mut wire = Wire::over(stream, config).await?;
        wire.call(&Request::open(&hello())).await
    };
    let error = timeout(SOON, attempt)
        .await
        .expect("a refusal in time")
        .expect_err("must be refused");
    match tls_error(&error) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("refused without an alert: {other:?}, {error}"),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Everything that the companion answers to these bytes until it ends the connection.
async fn bytes_answered(companion: &Companion, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(companion.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the alert is an end like any other.
    let _end = timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("the companion ends the connection");
    answer
}

async fn assert_healthy(companion: &Companion, key: &KeyPair) {
    let session = Session::open(companion, key).await;
    assert_eq!(session.opened.distro, "debian");
}

/// What a client sends while it opens a session, byte for byte, as a sniffer on the way would see it.
async fn record(companion: &Companion, key: &KeyPair) -> Vec<u8> {
    let tap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tapped = tap.local_addr().unwrap();
    let to = companion.address;
    let recorder = tokio::spawn(async move {
        let (client, _) = tap.accept().await.unwrap();
        let server = TcpStream::connect(to).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut seen = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = from_client.read(&mut chunk).await {
            seen.extend_from_slice(&chunk[..length]);
            to_server.write_all(&chunk[..length]).await.unwrap();
        }
        seen
    });
    let stream = TcpStream::connect(tapped).await.unwrap();
    let mut wire = Wire::over(stream, client_config(companion, key)).await.unwrap();
    let answer = wire.call(&Request::open(&hello())).await.unwrap();
    assert_eq!(answer.status, 200);
    drop(wire);
    recorder.await.unwrap()
}

/// A client that has a raw key type but no key.
#[derive(Debug)]
struct ShowsNothing;

impl ResolvesClientCert for ShowsNothing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client that shows somebody's public key and signs with its own.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl Thief {
    fn of(public: PublicKey) -> Self {
        // PKCS#8 of an Ed25519 key, RFC 8410: the fixed head and 32 secret bytes.
        let mut own = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        own.extend([7; 32]);
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(own)).unwrap();
        let spki = CertificateDer::from(public.to_spki().to_vec());
        Self(Arc::new(CertifiedKey::new(vec![spki], signer)))
    }
}

impl ResolvesClientCert for Thief {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The first message of a client that knows TLS 1.2 only (RFC 5246, section 7.4.1.2).
fn tls12_hello() -> Vec<u8> {
    let extensions: [&[u8]; 4] = [
        &[0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x1d], // supported_groups: x25519
        &[0x00, 0x0b, 0x00, 0x02, 0x01, 0x00],             // ec_point_formats: uncompressed
        &[0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x08, 0x07], // signature_algorithms: ed25519
        b"\x00\x10\x00\x0b\x00\x09\x08wslnet/1",           // application_layer_protocol_negotiation
    ];
    let extensions = extensions.concat();
    let mut body = vec![0x03, 0x03]; // TLS 1.2
    body.extend([7; 32]); // random
    body.push(0); // no session id
    body.extend([0x00, 0x02, 0xc0, 0x2b]); // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    body.extend([0x01, 0x00]); // no compression
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let handshake = [&[0x01, 0x00], &length(&body)[..], &body].concat();
    [&[0x16, 0x03, 0x01], &length(&handshake)[..], &handshake].concat()
}
