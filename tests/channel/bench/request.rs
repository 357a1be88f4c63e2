//! Requests as bytes, so that one thing about them can be wrong.

use serde::Serialize;
use wslnet_protocol::header::{GENERATION, HOST, MEDIA_TYPE, SESSION};
use wslnet_protocol::{ForwardSet, OpenSession, Renew, SessionId};

/// A request, by default exactly as the daemon sends it.
#[derive(Clone, Debug)]
pub struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            line: format!("{method} {path} HTTP/1.1"),
            headers: vec![("host".to_owned(), HOST.to_owned())],
            body: Vec::new(),
        }
    }

    /// `POST /v1/session`.
    pub fn open(hello: &OpenSession) -> Self {
        Self::new("POST", "/v1/session").json(hello)
    }

    /// `PUT /v1/forwards`.
    pub fn put(session: SessionId, generation: u64, set: &ForwardSet) -> Self {
        Self::new("PUT", "/v1/forwards")
            .with(SESSION, &session.to_string())
            .with(GENERATION, &generation.to_string())
            .json(set)
    }

    /// `GET /v1/forwards`.
    pub fn get(session: SessionId) -> Self {
        Self::new("GET", "/v1/forwards").with(SESSION, &session.to_string())
    }

    /// `POST /v1/renew`.
    pub fn renew(session: SessionId, seen: u64) -> Self {
        Self::new("POST", "/v1/renew")
            .with(SESSION, &session.to_string())
            .json(&Renew { seen })
    }

    /// `DELETE /v1/session`.
    pub fn close(session: SessionId) -> Self {
        Self::new("DELETE", "/v1/session").with(SESSION, &session.to_string())
    }

    /// Carries a value under our media type.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.body(&serde_json::to_vec(value).unwrap())
    }

    /// Carries these bytes under our media type, with their length.
    pub fn body(self, body: &[u8]) -> Self {
        let mut request = self
            .replacing("content-type", MEDIA_TYPE)
            .replacing("content-length", &body.len().to_string());
        request.body = body.to_vec();
        request
    }

    /// Adds a header, even if there is one of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header away.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Gives a header another value.
    pub fn replacing(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// Begins with another line.
    pub fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!("{}\r\n{}\r\n", self.line, headers.collect::<String>());
        [head.as_bytes(), &self.body].concat()
    }
}
