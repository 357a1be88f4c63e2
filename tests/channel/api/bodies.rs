//! Bodies: what does not fit is refused as a whole, and nothing of it is applied.

use serde_json::{Value, json};
use wslnet_protocol::header::{GENERATION, SESSION};
use wslnet_protocol::{ErrorCode, ForwardId, limits};

use crate::bench::{A_SECOND, Companion, Request, Session, Wire, forward, hello, key, set};

#[tokio::test]
async fn a_set_that_breaks_a_rule_is_refused_as_a_whole() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    let applied = session.put(1, &set(&[8000])).await.unwrap();

    for (name, body, said) in broken_sets() {
        let request = put(&session, 2).body(&body);
        let answer = session.wire.call(&request).await.unwrap();
        let problem = answer.problem();
        assert_eq!(problem.error, ErrorCode::Invalid, "{name}");
        assert!(problem.message.contains(said), "{name}: {problem}");
        assert_eq!(session.get().await.unwrap(), applied, "{name}");
    }

    let generation_is_unused = session.put(2, &set(&[9000])).await.unwrap();
    assert_eq!(generation_is_unused.generation, Some(2));
}

fn broken_sets() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = || serde_json::to_value(forward(9000)).unwrap();
    let with = |key: &str, value: Value| {
        let mut forward = good();
        forward[key] = value;
        serde_json::to_vec(&json!({ "forwards": [forward] })).unwrap()
    };
    let two = |id: u64, port: u16| {
        let mut set = set(&[9000, 9001]);
        set.forwards[1].id = ForwardId(id);
        set.forwards[1].listen_port = port;
        serde_json::to_vec(&set).unwrap()
    };
    let ports: Vec<u16> = (10_000..10_000 + 4097).collect();
    let deep = format!("{{\"forwards\":{}", "[".repeat(100_000));
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            "a target",
            with("target", json!("10.0.0.1")),
            "unknown field `target`",
        ),
        (
            "an address",
            with("address", json!("10.0.0.1")),
            "unknown field `address`",
        ),
        ("a host path", with("path", json!("C:\\")), "unknown field `path`"),
        (
            "more beside the set",
            text(r#"{"forwards":[],"force":true}"#),
            "unknown field `force`",
        ),
        ("one id twice", two(9000, 9001), "two forwards have the id"),
        ("one port twice", two(9001, 9000), "tcp port 9000"),
        ("port 0", with("port", json!(0)), "port 0"),
        ("listen port 0", with("listen_port", json!(0)), "port 0"),
        (
            "a port too large",
            with("listen_port", json!(65536)),
            "does not fit",
        ),
        ("a negative port", with("port", json!(-1)), "does not fit"),
        ("a port as text", with("port", json!("9000")), "does not fit"),
        (
            "another protocol",
            with("protocol", json!("sctp")),
            "does not fit",
        ),
        ("another reach", with("reach", json!("internet")), "does not fit"),
        ("a loopback bind", with("bind", json!("loopback")), "does not fit"),
        ("an id as a number", with("id", json!(1)), "does not fit"),
        ("a hostile name", with("name", json!("a\u{1b}[2J")), "one label"),
        (
            "a reversed label",
            with("labels", json!(["x=\u{202e}"])),
            "control",
        ),
        (
            "too many labels",
            with("labels", json!(vec!["a=b"; 17])),
            "more than 16",
        ),
        (
            "too many forwards",
            serde_json::to_vec(&set(&ports)).unwrap(),
            "4096",
        ),
        (
            "wanted and revoked",
            serde_json::to_vec(&json!({"forwards": [good()], "revoked": [ForwardId(9000)]})).unwrap(),
            "both wanted and revoked",
        ),
        ("no set", text("{}"), "missing field `forwards`"),
        ("no JSON", text("forwards"), "does not fit"),
        ("nothing", Vec::new(), "does not fit"),
        ("half", text(r#"{"forwards":["#), "does not fit"),
        ("more after it", text(r#"{"forwards":[]}{}"#), "does not fit"),
        (
            "a key twice",
            text(r#"{"forwards":[],"forwards":[]}"#),
            "duplicate field",
        ),
        ("a bottomless one", text(&deep), "does not fit"),
        (
            "no UTF-8",
            b"{\"forwards\":[],\"\xff\":1}".to_vec(),
            "does not fit",
        ),
    ]
}

#[tokio::test]
async fn a_session_opens_with_known_fields_only() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut wire = Wire::connect(&companion, &debian).await.unwrap();
    let good = serde_json::to_value(hello()).unwrap();

    for (key, value) in [
        ("target", json!("10.0.0.1")),
        ("distro", json!("ubuntu")),
        ("boot_id", json!("")),
        ("daemon", json!("\u{7}")),
        ("pid_namespace", json!(-1)),
    ] {
        let mut broken = good.clone();
        broken[key] = value;
        let request = Request::new("POST", "/v1/session").json(&broken);
        assert_eq!(
            wire.call(&request).await.unwrap().code(),
            ErrorCode::Invalid,
            "{key}"
        );
    }

    assert_eq!(companion.distros().await, [""; 0]);
}

#[tokio::test]
async fn a_body_of_the_longest_length_is_taken_and_one_byte_more_is_not() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    let mut padded = serde_json::to_vec(&set(&[8000])).unwrap();
    padded.resize(limits::BODY_BYTES, b' ');

    let longest = put(&session, 1).body(&padded);
    assert_eq!(session.wire.call(&longest).await.unwrap().status, 200);
    padded.push(b' ');
    let too_long = put(&session, 2)
        .body(b"")
        .replacing("content-length", &padded.len().to_string());
    let answer = session.wire.call(&too_long).await.unwrap();

    assert_eq!(answer.code(), ErrorCode::Invalid);
    assert!(answer.problem().message.contains("1048576"));
    assert_eq!(companion.ports().await, [8000]);
}

#[tokio::test]
async fn a_body_in_pieces_is_refused_whatever_else_is_said_of_its_length() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);

    for (name, request) in [
        (
            "chunked",
            Request::new("PUT", "/v1/forwards")
                .body(b"")
                .without("content-length"),
        ),
        (
            "chunked with a length",
            Request::new("PUT", "/v1/forwards").body(b"0\r\n\r\n"),
        ),
    ] {
        let mut session = Session::open(&companion, &debian).await;
        session.put(1, &set(&[8000])).await.unwrap();
        let request = request
            .with("transfer-encoding", "chunked")
            .with(SESSION, &session.id().to_string())
            .with(GENERATION, "2");
        let body = serde_json::to_string(&set(&[9000])).unwrap();
        let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());

        session.wire.send(&request.bytes()).await.unwrap();
        session.wire.send(chunks.as_bytes()).await.unwrap();
        let answer = session.wire.answer().await.unwrap();

        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
        assert_eq!(companion.ports().await, [8000], "{name}");
    }
}

#[tokio::test]
async fn what_hides_behind_a_body_is_no_second_request() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();
    // A proxy that went by the length would see one request here, a server that went by the chunks two.
    let hidden = Request::put(session.id(), 3, &set(&[9000])).bytes();
    let body = [&b"0\r\n\r\n"[..], &hidden].concat();
    let request = put(&session, 2).body(&body).with("transfer-encoding", "chunked");

    let answer = session.wire.call(&request).await.unwrap();
    session.wire.end(A_SECOND).await;

    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(companion.ports().await, [8000]);
}

#[tokio::test]
async fn a_request_without_a_body_brings_none() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;

    let request = Request::get(session.id()).body(b"{}");

    assert_eq!(
        session.wire.call(&request).await.unwrap().code(),
        ErrorCode::Invalid
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_applied() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();
    let bytes = Request::put(session.id(), 2, &set(&[9000])).bytes();

    session.wire.send(&bytes[..bytes.len() - 1]).await.unwrap();
    drop(session);

    let mut next = Session::open(&companion, &debian).await;
    assert_eq!(next.get().await.unwrap().forwards[0].id, ForwardId(8000));
}

fn put(session: &Session, generation: u64) -> Request {
    Request::new("PUT", "/v1/forwards")
        .with(SESSION, &session.id().to_string())
        .with(GENERATION, &generation.to_string())
}
