//! The five requests, over one pinned connection.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wslnet_link::{KeyPair, PublicKey};
use wslnet_protocol::header::{self, MEDIA_TYPE};
use wslnet_protocol::{
    Applied, ErrorCode, ForwardSet, OpenSession, Problem, Renew, Renewed, SessionId, SessionOpened, limits,
};

use super::error::PushError;

/// How long the companion may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long a request may take in all. Well below the lease, so that a silent companion is noticed in time.
const REQUEST_TIME: Duration = Duration::from_secs(4);

/// Speaks to one companion. Every session has a client of its own, so that a session has a connection of its own.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    companion: SocketAddr,
    own: PublicKey,
}

impl Client {
    /// A client for the companion at this address, which must prove that it has the pinned key.
    pub(super) fn new(companion: SocketAddr, own: &KeyPair, pin: PublicKey) -> Result<Self, PushError> {
        let broken = |error: String| PushError::Broken(companion, error);
        let tls = wslnet_link::client_config(own, pin).map_err(|error| broken(error.to_string()))?;
        let mut fixed = HeaderMap::new();
        fixed.insert(HOST, HeaderValue::from_static(header::HOST));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(fixed)
            .https_only(true)
            .http1_only()
            // WSL's autoProxy sets proxy variables; the companion is a neighbour and never behind a proxy.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .resolve(header::HOST, companion)
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIME)
            .timeout(REQUEST_TIME)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            http,
            companion,
            own: own.public(),
        })
    }

    /// Opens a session.
    pub(super) async fn open(&self, request: &OpenSession) -> Result<SessionOpened, PushError> {
        self.call(Method::POST, "/v1/session", HeaderMap::new(), Some(request))
            .await
    }

    /// Replaces the set.
    pub(super) async fn put(
        &self,
        session: SessionId,
        generation: u64,
        set: &ForwardSet,
    ) -> Result<Applied, PushError> {
        let mut headers = of_session(session);
        headers.insert(header::GENERATION, HeaderValue::from(generation));
        self.call(Method::PUT, "/v1/forwards", headers, Some(set)).await
    }

    /// Keeps the lease.
    pub(super) async fn renew(&self, session: SessionId, seen: u64) -> Result<Renewed, PushError> {
        self.call(
            Method::POST,
            "/v1/renew",
            of_session(session),
            Some(&Renew { seen }),
        )
        .await
    }

    /// Says goodbye.
    pub(super) async fn close(&self, session: SessionId) -> Result<(), PushError> {
        let (status, body) = self
            .exchange(Method::DELETE, "/v1/session", of_session(session), None::<&()>)
            .await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(refused(status, &body))
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&impl Serialize>,
    ) -> Result<T, PushError> {
        let (status, body) = self.exchange(method, path, headers, body).await?;
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| PushError::Answer(error.to_string()))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&impl Serialize>,
    ) -> Result<(StatusCode, Vec<u8>), PushError> {
        let failed = |error: reqwest::Error| PushError::of(&error, self.companion, self.own);
        let url = format!("https://{}:{}{path}", header::HOST, self.companion.port());
        let mut request = self.http.request(method, url).headers(headers);
        if let Some(body) = body {
            let json = serde_json::to_vec(body).map_err(|error| PushError::Answer(error.to_string()))?;
            request = request.header(CONTENT_TYPE, MEDIA_TYPE).body(json);
        }
        let mut response = request.send().await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            // Read to its end even though nothing more is needed: an unread answer would cost the connection.
            if bytes.len() > limits::ANSWER_BYTES {
                return Err(PushError::Answer(format!(
                    "it is longer than {} bytes",
                    limits::ANSWER_BYTES
                )));
            }
        }
        Ok((response.status(), bytes))
    }
}

fn of_session(session: SessionId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&session.to_string()) {
        headers.insert(header::SESSION, value);
    }
    headers
}

fn refused(status: StatusCode, body: &[u8]) -> PushError {
    PushError::Problem(serde_json::from_slice(body).unwrap_or_else(|_| {
        Problem::new(
            ErrorCode::Invalid,
            format!(
                "the companion answered with status {}; install the same release of wslnetd and wslnet-companion",
                status.as_u16()
            ),
        )
    }))
}
