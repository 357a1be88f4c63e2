//! A distro that holds to the rules: one session on one connection.

use wslnet_link::KeyPair;
use wslnet_protocol::{
    Applied, Bind, Forward, ForwardId, ForwardSet, Mode, OpenSession, Problem, Protocol, Reach, Renewed,
    SessionId, SessionOpened, VERSION,
};

use super::{Companion, Request, Wire};

/// An open session.
#[derive(Debug)]
pub struct Session {
    /// What the companion answered.
    pub opened: SessionOpened,
    /// Its connection.
    pub wire: Wire,
}

impl Session {
    /// Opens a session on a new connection.
    pub async fn open(companion: &Companion, key: &KeyPair) -> Self {
        Self::open_as(companion, key, &hello()).await.unwrap()
    }

    /// Opens a session on a new connection as another run of a daemon, or is refused.
    pub async fn open_as(companion: &Companion, key: &KeyPair, hello: &OpenSession) -> Result<Self, Problem> {
        let wire = Wire::connect(companion, key).await.unwrap();
        Self::open_on(wire, hello).await
    }

    /// Opens a session on this connection, or is refused.
    pub async fn open_on(mut wire: Wire, hello: &OpenSession) -> Result<Self, Problem> {
        let opened = wire.call(&Request::open(hello)).await.unwrap().read()?;
        Ok(Self { opened, wire })
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.opened.session
    }

    /// Replaces the set.
    pub async fn put(&mut self, generation: u64, set: &ForwardSet) -> Result<Applied, Problem> {
        let request = Request::put(self.id(), generation, set);
        self.wire.call(&request).await.unwrap().read()
    }

    /// Reads the set back.
    pub async fn get(&mut self) -> Result<Applied, Problem> {
        self.wire.call(&Request::get(self.id())).await.unwrap().read()
    }

    /// Keeps the lease.
    pub async fn renew(&mut self, seen: u64) -> Result<Renewed, Problem> {
        let request = Request::renew(self.id(), seen);
        self.wire.call(&request).await.unwrap().read()
    }
}

/// With what the daemon of a distro opens.
pub fn hello() -> OpenSession {
    OpenSession {
        protocol: VERSION,
        boot_id: "5f1c6f2e-0c3e-4f0e-9a55-6e1c3b2a9d10".to_owned(),
        pid_namespace: 4_026_532_221,
        // The companions of these tests are on the loopback address, where no others come from.
        mode: Mode::Mirrored,
        daemon: "0.1.0".to_owned(),
    }
}

/// A set that asks for these ports.
pub fn set(ports: &[u16]) -> ForwardSet {
    ForwardSet {
        forwards: ports.iter().map(|port| forward(*port)).collect(),
        revoked: Vec::new(),
    }
}

/// A forward whose id is its port.
pub fn forward(port: u16) -> Forward {
    Forward {
        id: ForwardId(port.into()),
        protocol: Protocol::Tcp,
        port,
        bind: Bind::Wildcard,
        listen_port: port,
        auto: false,
        loopback_gap: false,
        reach: Reach::Lan,
        name: None,
        labels: vec!["process=node".to_owned()],
    }
}
