//! A client and a server that meet in memory.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, Error, HandshakeKind, ProtocolVersion,
    ServerConfig, ServerConnection,
};

use crate::{PublicKey, SERVER_NAME, alpn_agreed, peer_key};

/// How a meeting ended, seen from both sides.
pub(super) struct Meeting {
    pub(super) client: Result<(), Error>,
    pub(super) server: Result<(), Error>,
    /// What the server's application got to read.
    pub(super) accepted: Vec<u8>,
    /// What the client's application got to read.
    pub(super) answered: Vec<u8>,
    pub(super) seen_by_server: Option<PublicKey>,
    pub(super) seen_by_client: Option<PublicKey>,
    pub(super) version: Option<ProtocolVersion>,
    pub(super) handshake: Option<HandshakeKind>,
    pub(super) tickets: Option<u32>,
    pub(super) alpn_on_both: bool,
    pub(super) hello: Vec<u8>,
}

impl Meeting {
    pub(super) fn assert_refused_by_server(&self, error: Error, alert: AlertDescription) {
        assert_eq!(self.server, Err(error));
        assert_eq!(self.client, Err(Error::AlertReceived(alert)));
        assert_eq!(self.accepted, b"");
        assert_eq!(self.answered, b"");
    }

    pub(super) fn assert_refused_by_client(&self, error: Error, alert: AlertDescription) {
        assert_eq!(self.client, Err(error));
        assert_eq!(self.server, Err(Error::AlertReceived(alert)));
        assert_eq!(self.accepted, b"");
        assert_eq!(self.answered, b"");
    }
}

/// Lets both sides talk until neither has anything to say. Each tries to send a line as soon as it may.
pub(super) fn meet(client: impl Into<Arc<ClientConfig>>, server: impl Into<Arc<ServerConfig>>) -> Meeting {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut client = Connection::Client(ClientConnection::new(client.into(), name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(server.into()).unwrap());
    // Buffered by rustls until the handshake allows it.
    std::io::Write::write_all(&mut client.writer(), b"from the client").unwrap();
    std::io::Write::write_all(&mut server.writer(), b"from the server").unwrap();

    let mut hello = None;
    let (mut client_result, mut server_result) = (Ok(()), Ok(()));
    let (mut accepted, mut answered) = (Vec::new(), Vec::new());
    while client.wants_write() || server.wants_write() {
        let sent = carry(&mut client, &mut server, &mut server_result, &mut accepted);
        hello.get_or_insert(sent);
        carry(&mut server, &mut client, &mut client_result, &mut answered);
    }

    let tickets = match &client {
        Connection::Client(conn) => Some(conn.tls13_tickets_received()),
        Connection::Server(_) => None,
    };
    Meeting {
        client: client_result,
        server: server_result,
        accepted,
        answered,
        seen_by_server: peer_key(&server),
        seen_by_client: peer_key(&client),
        version: client.protocol_version(),
        handshake: client.handshake_kind(),
        tickets,
        alpn_on_both: alpn_agreed(&client) && alpn_agreed(&server),
        hello: hello.unwrap_or_default(),
    }
}

/// Carries what `from` has to say to `to`, keeps the first error of `to` and what its application may read.
fn carry(
    from: &mut Connection,
    to: &mut Connection,
    result: &mut Result<(), Error>,
    read: &mut Vec<u8>,
) -> Vec<u8> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() && result.is_ok() {
        to.read_tls(&mut rest).unwrap();
        *result = to.process_new_packets().map(drop);
        // Ends with "would block" while the connection is open.
        let _ = std::io::Read::read_to_end(&mut to.reader(), read);
    }
    wire
}
