#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

//! Handshakes in memory: two connections, and the bytes of one fed to the other. The first nine are the cases of
//! the security profile.

mod meeting;

use std::collections::BTreeSet;
use std::sync::Mutex;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible, ProtocolVersion};

use super::*;
use meeting::meet;

#[test]
fn paired_sides_talk_and_know_each_other() {
    let (client, server) = (key(), key());

    let result = meet(
        client_of(&client, server.public()),
        server_of(&server, [client.public()]),
    );

    assert_eq!(result.client, Ok(()));
    assert_eq!(result.server, Ok(()));
    assert_eq!(result.accepted, b"from the client");
    assert_eq!(result.answered, b"from the server");
    assert_eq!(result.seen_by_server, Some(client.public()));
    assert_eq!(result.seen_by_client, Some(server.public()));
    assert_eq!(result.version, Some(ProtocolVersion::TLSv1_3));
    assert!(result.alpn_on_both);
}

#[test]
fn an_unknown_client_key_is_refused() {
    let (client, server, other) = (key(), key(), key());

    let result = meet(
        client_of(&client, server.public()),
        server_of(&server, [other.public()]),
    );

    result.assert_refused_by_server(not_pinned(), AlertDescription::AccessDenied);
}

#[test]
fn a_client_without_a_key_is_refused() {
    let (client, server) = (key(), key());
    let mut config = client_of(&client, server.public());
    config.client_auth_cert_resolver = Arc::new(ShowsNothing);

    let result = meet(config, server_of(&server, [client.public()]));

    result.assert_refused_by_server(
        Error::NoCertificatesPresented,
        AlertDescription::CertificateRequired,
    );
}

#[test]
fn a_client_that_knows_nothing_of_raw_keys_is_refused() {
    let (client, server) = (key(), key());
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];

    let result = meet(config, server_of(&server, [client.public()]));

    let expected = Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension);
    result.assert_refused_by_server(expected, AlertDescription::HandshakeFailure);
}

#[test]
fn a_client_with_the_right_public_key_and_another_private_key_is_refused() {
    let (client, server, thief) = (key(), key(), key());
    let stolen = client_config_showing(foreign(&client, &thief), server.public()).unwrap();

    let result = meet(stolen, server_of(&server, [client.public()]));

    result.assert_refused_by_server(bad_signature(), AlertDescription::DecryptError);
}

#[test]
fn a_server_with_another_key_is_refused() {
    let (client, server, rogue) = (key(), key(), key());

    let result = meet(
        client_of(&client, server.public()),
        server_of(&rogue, [client.public()]),
    );

    result.assert_refused_by_client(not_pinned(), AlertDescription::AccessDenied);
}

#[test]
fn a_server_with_the_right_public_key_and_another_private_key_is_refused() {
    let (client, server, thief) = (key(), key(), key());
    let stolen = server_config_showing(foreign(&server, &thief), pins([client.public()])).unwrap();

    let result = meet(client_of(&client, server.public()), stolen);

    result.assert_refused_by_client(bad_signature(), AlertDescription::DecryptError);
}

#[test]
fn clocks_do_not_matter() {
    let (client, server) = (key(), key());
    // 1970, and 2106 where 32 bits end.
    for (client_time, server_time) in [(0, u64::from(u32::MAX)), (u64::from(u32::MAX), 0)] {
        let mut client_config = client_of(&client, server.public());
        client_config.time_provider = Arc::new(Clock(client_time));
        let mut server_config = server_of(&server, [client.public()]);
        server_config.time_provider = Arc::new(Clock(server_time));

        let result = meet(client_config, server_config);

        assert_eq!((result.client, result.server), (Ok(()), Ok(())));
    }
}

#[test]
fn during_a_rotation_the_old_and_the_new_key_are_let_in() {
    let (old, new, server) = (key(), key(), key());
    let config = Arc::new(server_of(&server, [old.public(), new.public()]));

    for client in [old, new] {
        let result = meet(client_of(&client, server.public()), Arc::clone(&config));

        assert_eq!(result.server, Ok(()));
        assert_eq!(result.seen_by_server, Some(client.public()));
    }
}

#[test]
fn plain_http_gets_an_alert_and_nothing_else() {
    let (client, server) = (key(), key());
    let mut conn = rustls::ServerConnection::new(Arc::new(server_of(&server, [client.public()]))).unwrap();

    conn.read_tls(&mut &b"GET / HTTP/1.1\r\nHost: wslnet.internal\r\n\r\n"[..])
        .unwrap();
    let error = conn.process_new_packets().unwrap_err();

    assert_eq!(error, Error::InvalidMessage(InvalidMessage::InvalidContentType));
    let mut answer = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut answer).unwrap();
    }
    // One record: type alert (21), two bytes long, level fatal (2), decode_error (50).
    assert_eq!(
        (answer.len(), answer[0], &answer[3..]),
        (7, 21, &[0, 2, 2, 50][..])
    );
}

#[test]
fn a_pin_that_is_taken_away_stops_the_next_handshake() {
    let (client, server) = (key(), key());
    let trusted = Arc::new(Changing(Mutex::new(BTreeSet::from([client.public()]))));
    let config = Arc::new(server_config(&server, Arc::clone(&trusted) as Arc<dyn Pins>).unwrap());
    let before = meet(client_of(&client, server.public()), Arc::clone(&config));

    trusted.0.lock().unwrap().clear();
    let after = meet(client_of(&client, server.public()), config);

    assert_eq!(before.server, Ok(()));
    after.assert_refused_by_server(not_pinned(), AlertDescription::AccessDenied);
}

#[test]
fn a_client_that_speaks_tls_1_2_only_is_refused() {
    let (client, server) = (key(), key());
    let mut conn = rustls::ServerConnection::new(Arc::new(server_of(&server, [client.public()]))).unwrap();

    conn.read_tls(&mut tls12_hello().as_slice()).unwrap();
    let error = conn.process_new_packets().unwrap_err();

    assert!(matches!(error, Error::PeerIncompatible(_)), "{error:?}");
    let mut answer = Vec::new();
    conn.write_tls(&mut answer).unwrap();
    // Type alert (21), fatal (2), protocol_version (70).
    assert_eq!(
        (answer.len(), answer[0], &answer[3..]),
        (7, 21, &[0, 2, 2, 70][..])
    );
}

#[test]
fn a_client_without_alpn_is_refused() {
    let (client, server) = (key(), key());
    let mut config = client_of(&client, server.public());
    config.alpn_protocols.clear();

    let result = meet(config, server_of(&server, [client.public()]));

    assert_eq!(
        result.client,
        Err(Error::AlertReceived(AlertDescription::AccessDenied))
    );
    assert!(result.server.is_err());
    assert_eq!(result.accepted, b"");
}

#[test]
fn a_client_with_another_alpn_is_refused() {
    let (client, server) = (key(), key());
    let mut config = client_of(&client, server.public());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let result = meet(config, server_of(&server, [client.public()]));

    result.assert_refused_by_server(
        Error::NoApplicationProtocol,
        AlertDescription::NoApplicationProtocol,
    );
}

#[test]
fn a_server_without_alpn_is_noticed() {
    let (client, server) = (key(), key());
    let mut config = server_of(&server, [client.public()]);
    config.alpn_protocols.clear();

    let result = meet(client_of(&client, server.public()), config);

    assert_eq!(result.client, Ok(()));
    assert!(!result.alpn_on_both);
}

#[test]
fn the_hello_names_no_server_and_nothing_is_kept_for_later() {
    let (client, server) = (key(), key());
    let config = Arc::new(client_of(&client, server.public()));
    let server_config = Arc::new(server_of(&server, [client.public()]));

    let first = meet(Arc::clone(&config), Arc::clone(&server_config));
    let second = meet(config, server_config);

    let name = SERVER_NAME.as_bytes();
    assert!(!first.hello.windows(name.len()).any(|part| part == name));
    for result in [first, second] {
        assert_eq!(result.handshake, Some(rustls::HandshakeKind::Full));
        assert_eq!(result.tickets, Some(0));
    }
}

#[test]
fn a_chain_is_not_a_raw_key() {
    let (client, server) = (key(), key());
    let mut identity = CertifiedKey::clone(&identity::certified(&client).unwrap());
    identity.cert.push(identity.cert[0].clone());
    let config = client_config_showing(Arc::new(identity), server.public()).unwrap();

    let result = meet(config, server_of(&server, [client.public()]));

    assert!(
        matches!(result.server, Err(Error::InvalidCertificate(_))),
        "{:?}",
        result.server
    );
    assert_eq!(result.accepted, b"");
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn pins<const N: usize>(keys: [PublicKey; N]) -> Arc<dyn Pins> {
    Arc::new(Changing(Mutex::new(BTreeSet::from(keys))))
}

fn client_of(own: &KeyPair, pin: PublicKey) -> ClientConfig {
    client_config(own, pin).unwrap()
}

fn server_of<const N: usize>(own: &KeyPair, trusted: [PublicKey; N]) -> ServerConfig {
    server_config(own, pins(trusted)).unwrap()
}

/// Shows the public key of `shown` and signs with the private key of `signer`.
fn foreign(shown: &KeyPair, signer: &KeyPair) -> Arc<CertifiedKey> {
    let signer = identity::certified(signer).unwrap();
    let cert = identity::certified(shown).unwrap().cert.clone();
    Arc::new(CertifiedKey::new(cert, Arc::clone(&signer.key)))
}

fn not_pinned() -> Error {
    Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure)
}

fn bad_signature() -> Error {
    Error::InvalidCertificate(rustls::CertificateError::BadSignature)
}

#[derive(Debug)]
struct Changing(Mutex<BTreeSet<PublicKey>>);

impl Pins for Changing {
    fn contains(&self, key: &PublicKey) -> bool {
        self.0.lock().unwrap().contains(key)
    }
}

#[derive(Debug)]
struct Clock(u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0)))
    }
}

/// Announces raw keys and then has none to show.
#[derive(Debug)]
struct ShowsNothing;

impl ResolvesClientCert for ShowsNothing {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// A ClientHello as a TLS 1.2 client sends it: no supported_versions, one suite, Ed25519, X25519, our ALPN. Made by
/// hand, because the TLS library is built without TLS 1.2.
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
    let mut handshake = vec![0x01, 0x00]; // client_hello, three bytes of length
    handshake.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    handshake.extend(body);
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend(u16::try_from(handshake.len()).unwrap().to_be_bytes());
    record.extend(handshake);
    record
}
