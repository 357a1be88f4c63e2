//! What only a browser, a proxy or an attacker sends: one thing wrong in an otherwise perfect request, over an
//! authenticated connection, and nothing may change.

use wslnet_protocol::ErrorCode;
use wslnet_protocol::header::{GENERATION, HOST, SESSION};

use crate::bench::{A_SECOND, Companion, Request, Session, Wire, key, set};

/// How a request is refused.
#[derive(Clone, Copy, Debug)]
enum Refused {
    /// As a [`Problem`](wslnet_protocol::Problem) of this kind.
    Problem(ErrorCode),
    /// 4xx from the HTTP parser itself, which ends the connection.
    Unparsed,
}
use Refused::{Problem, Unparsed};

const FORBIDDEN: Refused = Problem(ErrorCode::Forbidden);
const INVALID: Refused = Problem(ErrorCode::Invalid);

/// The one thing that is wrong.
type Wrong = Box<dyn Fn(Request) -> Request>;

#[tokio::test]
async fn each_single_violation_is_refused_and_changes_nothing() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let violations = violations();
    assert!(violations.len() >= 40);

    for (name, wrong, refused) in violations {
        let mut session = Session::open(&companion, &debian).await;
        session.put(1, &set(&[8000])).await.unwrap();
        let perfect = Request::put(session.id(), 2, &set(&[9000]));

        let answer = session.wire.call(&wrong(perfect.clone())).await;

        let answer = answer.unwrap_or_else(|error| panic!("{name}: no answer: {error}"));
        match refused {
            Problem(code) => {
                assert_eq!(answer.status, code.status(), "{name}: {answer:?}");
                assert_eq!(answer.code(), code, "{name}");
            }
            Unparsed => {
                assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
                session.wire.end(A_SECOND).await;
            }
        }
        assert!(!answer.head.contains("access-control"), "{name}: {answer:?}");
        assert_eq!(companion.ports().await, [8000], "{name}");
        if !matches!(refused, Unparsed) {
            let answer = session.wire.call(&perfect).await.unwrap();
            assert_eq!(answer.status, 200, "{name}: only that was wrong");
        }
    }
}

fn violations() -> Vec<(String, Wrong, Refused)> {
    let mut all: Vec<(String, Wrong, Refused)> = Vec::new();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "https://wslnet.internal"),
        ("referer", "https://evil.example/page"),
        ("referer", ""),
        ("cookie", "a=b"),
        ("authorization", "Bearer x"),
        ("authorization", "Basic YTpi"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-user", "?1"),
        ("sec-fetch-storage-access", "active"),
        ("SEC-FETCH-SITE", "none"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", HOST),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "9756"),
        ("X-Forwarded-Server", "proxy"),
        ("forwarded", "for=10.0.0.1"),
        ("via", "1.1 proxy"),
        // A second host, of whatever name.
        ("host", HOST),
        ("host", "evil.example"),
    ] {
        all.push((format!("added {name}: {value}"), added(name, value), FORBIDDEN));
    }
    for host in [
        "evil.example",
        "localhost",
        "127.0.0.1",
        "127.0.0.1:9756",
        "wslnet.internal:9756",
        "wslnet.internal.",
        "WSLNET.INTERNAL",
        "wslnet.internal.evil.example",
        "evil.example@wslnet.internal",
        "",
    ] {
        all.push((format!("host {host:?}"), replaced("host", host), FORBIDDEN));
    }
    all.push(("no host".to_owned(), Box::new(|r| r.without("host")), FORBIDDEN));
    let target = format!("PUT https://{HOST}/v1/forwards HTTP/1.1");
    all.push((
        "the form for proxies".to_owned(),
        Box::new(move |r| r.line(&target)),
        FORBIDDEN,
    ));
    all.push((
        "the form for proxies, another host".to_owned(),
        Box::new(|r| r.line("PUT http://evil.example/v1/forwards HTTP/1.1")),
        FORBIDDEN,
    ));
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/vnd.wslnet.v1+json; charset=utf-8"),
        (SESSION, "0123456789abcdef"),
        (SESSION, "0123456789ABCDEF0123456789ABCDEF"),
        (SESSION, ""),
        (GENERATION, "02"),
        (GENERATION, "+2"),
        (GENERATION, "-1"),
        (GENERATION, "2.0"),
        (GENERATION, "18446744073709551616"),
        (GENERATION, ""),
    ] {
        all.push((format!("{name} {value:?}"), replaced(name, value), INVALID));
    }
    for name in ["content-type", SESSION, GENERATION] {
        all.push((format!("no {name}"), Box::new(move |r| r.without(name)), INVALID));
    }
    for (name, value) in [
        ("content-type", "application/vnd.wslnet.v1+json"),
        (SESSION, "00000000000000000000000000000000"),
        (GENERATION, "3"),
        ("expect", "100-continue"),
    ] {
        all.push((format!("added {name}: {value}"), added(name, value), INVALID));
    }
    for (name, value) in [
        ("content-length", "1"),
        ("content-length ", "1"),
        ("a b", "c"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", "a\r\n folded"),
    ] {
        all.push((format!("added {name:?}: {value:?}"), added(name, value), Unparsed));
    }
    for line in [
        "PUT /v1/forwards HTTP/3.0",
        "PUT /v1/forwards",
        "PUT  /v1/forwards HTTP/1.1",
        "PUT /v1/for wards HTTP/1.1",
        "P\0T /v1/forwards HTTP/1.1",
    ] {
        all.push((
            format!("the line {line:?}"),
            Box::new(move |r| r.line(line)),
            Unparsed,
        ));
    }
    all
}

fn added(name: &'static str, value: &'static str) -> Wrong {
    Box::new(move |request| request.with(name, value))
}

fn replaced(name: &'static str, value: &'static str) -> Wrong {
    Box::new(move |request| request.replacing(name, value))
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();
    let id = session.id().to_string();

    for (method, path) in [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v2/forwards"),
        ("GET", "/v1/forwards/"),
        ("GET", "//v1/forwards"),
        ("GET", "/v1/../v1/forwards"),
        ("GET", "/v1/%66orwards"),
        ("GET", "/v1/FORWARDS"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/session"),
        ("GET", "/v1/renew"),
        ("DELETE", "/v1/forwards"),
        ("PATCH", "/v1/forwards"),
        ("OPTIONS", "/v1/forwards"),
        ("TRACE", "/v1/forwards"),
        ("put", "/v1/forwards"),
        ("MAKEFORWARD", "/v1/forwards"),
    ] {
        let request = Request::new(method, path).with(SESSION, &id);
        let answer = session.wire.call(&request).await.unwrap();
        assert_eq!(answer.code(), ErrorCode::NotFound, "{method} {path}");
        assert!(!answer.head.contains("access-control"), "{method} {path}");
    }

    assert_eq!(companion.ports().await, [8000]);
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes_and_in_lines() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();
    let perfect = Request::put(session.id(), 2, &set(&[9000]));
    let many = (0..40).fold(perfect.clone(), |request, n| request.with(&format!("x-{n}"), "y"));
    let long = perfect.clone().with("x", &"y".repeat(8 << 10));
    let endless = Request::new("GET", &format!("/{}", "a".repeat(16 << 10)));
    let near = Request::get(session.id()).with("x", &"y".repeat(7 << 10));

    assert_eq!(
        session.wire.call(&near).await.unwrap().status,
        200,
        "7 KiB are allowed"
    );
    for (name, request) in [("many", many), ("long", long), ("endless", endless)] {
        let mut wire = Wire::connect(&companion, &debian).await.unwrap();
        // The companion may end the connection before it has read everything.
        if let Ok(answer) = wire.call(&request).await {
            assert!([414, 431].contains(&answer.status), "{name}: {answer:?}");
        }
        wire.end(A_SECOND).await;
    }

    assert_eq!(companion.ports().await, [8000]);
}
