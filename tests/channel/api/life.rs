//! The five requests in their order, from the HTTP client that the daemon uses.

use std::net::Ipv4Addr;

use reqwest::header::{CONTENT_TYPE, HOST};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wslnet_link::KeyPair;
use wslnet_protocol::header::{self, MEDIA_TYPE};
use wslnet_protocol::{
    Applied, ErrorCode, ForwardState, Problem, Protocol, Renew, Renewed, SessionOpened, limits,
};

use crate::bench::{Companion, Session, client_config, hello, key, set};

#[tokio::test]
async fn a_session_from_its_opening_to_its_goodbye() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let client = Client::new(&companion, &debian);

    let opened: SessionOpened = client
        .ask(Method::POST, "session", &[], Some(&hello()))
        .await
        .unwrap();
    assert_eq!(opened.distro, "debian");
    assert_eq!(opened.peer.ip(), Ipv4Addr::LOCALHOST);
    assert_eq!(opened.companion, wslnet_companion::VERSION);
    assert_eq!(u128::from(opened.lease_ms), limits::LEASE.as_millis());
    assert_eq!(u128::from(opened.renew_ms), limits::RENEW.as_millis());
    assert_eq!(opened.max_forwards, limits::FORWARDS);
    let session = opened.session.to_string();
    let of_session = [(header::SESSION, session.as_str())];

    let empty: Applied = client.get("forwards", &of_session).await.unwrap();
    assert_eq!((empty.generation, empty.forwards.len()), (None, 0));

    let with_generation = [of_session[0], (header::GENERATION, "1")];
    let applied: Applied = client
        .ask(
            Method::PUT,
            "forwards",
            &with_generation,
            Some(&set(&[8000, 8001])),
        )
        .await
        .unwrap();
    assert_eq!(applied.generation, Some(1));
    let ids: Vec<u64> = applied.forwards.iter().map(|forward| forward.id.0).collect();
    assert_eq!(ids, [8000, 8001], "one state for each forward, in their order");
    for forward in &applied.forwards {
        assert_eq!(forward.state, ForwardState::Denied);
        assert!(forward.reason.contains("127.0.0.1"), "{}", forward.reason);
        assert!(forward.listen.is_empty());
    }
    assert_eq!(
        client.get::<Applied>("forwards", &of_session).await.unwrap(),
        applied
    );

    let seen = Renew {
        seen: applied.revision,
    };
    let renewed: Renewed = client
        .ask(Method::POST, "renew", &of_session, Some(&seen))
        .await
        .unwrap();
    assert_eq!((renewed.revision, renewed.forwards), (applied.revision, None));
    let unseen = Renew { seen: 0 };
    let renewed: Renewed = client
        .ask(Method::POST, "renew", &of_session, Some(&unseen))
        .await
        .unwrap();
    assert_eq!(renewed.forwards, Some(applied.forwards));

    let goodbye = client
        .send(Method::DELETE, "session", &of_session, None::<&()>)
        .await;
    assert_eq!(goodbye.status(), StatusCode::NO_CONTENT);
    assert_eq!(companion.ports().await, [0; 0]);
    assert_eq!(companion.distros().await, [""; 0]);
    let after = client.get::<Applied>("forwards", &of_session).await.unwrap_err();
    assert_eq!(after.error, ErrorCode::StaleSession);
}

#[tokio::test]
async fn a_new_set_replaces_the_former_one_and_its_states_get_a_new_number() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;

    let first = session.put(1, &set(&[8000, 8001])).await.unwrap();
    let second = session.put(2, &set(&[8001, 9000])).await.unwrap();
    let same = session.put(7, &set(&[8001, 9000])).await.unwrap();

    assert_eq!(companion.ports().await, [8001, 9000]);
    assert!(second.revision > first.revision);
    assert_eq!(
        (same.revision, same.generation),
        (second.revision, Some(7)),
        "states that stay keep their number"
    );
}

#[tokio::test]
async fn people_see_whose_a_forward_is_and_why_it_is_not_open() {
    let (debian, ubuntu) = (key(), key());
    let companion = Companion::start(&[("debian", debian.public()), ("ubuntu", ubuntu.public())]);
    let mut of_debian = Session::open(&companion, &debian).await;
    let mut of_ubuntu = Session::open(&companion, &ubuntu).await;

    of_debian.put(3, &set(&[8000])).await.unwrap();
    let seen_by_ubuntu = of_ubuntu.put(1, &set(&[8000, 9000])).await.unwrap();

    assert_eq!(
        of_debian.get().await.unwrap().forwards.len(),
        1,
        "a distro sees its own forwards only"
    );
    assert_eq!(seen_by_ubuntu.forwards.len(), 2);
    let (status, list) = companion.report().await;
    let distros: Vec<_> = status
        .distros
        .iter()
        .map(|entry| (entry.distro.as_str(), entry.connected, entry.generation))
        .collect();
    assert_eq!(distros, [("debian", true, Some(3)), ("ubuntu", true, Some(1))]);
    assert_eq!((status.active, status.inactive), (0, 3));
    let rows: Vec<_> = list
        .iter()
        .map(|row| (row.distro.as_str(), row.protocol, row.port, row.state))
        .collect();
    assert_eq!(
        rows,
        [
            ("debian", Protocol::Tcp, 8000, ForwardState::Denied),
            // The port is the first one's, though its rule is not to be had.
            ("ubuntu", Protocol::Tcp, 8000, ForwardState::Conflict),
            ("ubuntu", Protocol::Tcp, 9000, ForwardState::Denied),
        ]
    );
    assert!(list.iter().all(|row| !row.reason.is_empty()));
}

/// The HTTP client of a distro.
struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    fn new(companion: &Companion, key: &KeyPair) -> Self {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(companion, key))
            .https_only(true)
            .http1_only()
            .no_proxy()
            .resolve(header::HOST, companion.address)
            .build()
            .unwrap();
        Self {
            http,
            base: format!("https://{}:{}/v1", header::HOST, companion.address.port()),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, headers: &[(&str, &str)]) -> Result<T, Problem> {
        self.ask(Method::GET, path, headers, None::<&()>).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> Result<T, Problem> {
        let response = self.send(method, path, headers, body).await;
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        if status == StatusCode::OK {
            return Ok(serde_json::from_slice(&bytes).unwrap());
        }
        let problem: Problem = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(problem.error.status(), status.as_u16());
        Err(problem)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> reqwest::Response {
        let mut request = self
            .http
            .request(method, format!("{}/{path}", self.base))
            .header(HOST, header::HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            let json = serde_json::to_vec(body).unwrap();
            request = request.header(CONTENT_TYPE, MEDIA_TYPE).body(json);
        }
        request.send().await.unwrap()
    }
}
