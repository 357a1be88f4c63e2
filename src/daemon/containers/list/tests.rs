#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;
use serde_json::{Value, json};
use wslnet_console::text::is_hostile;

use super::*;

/// `GET /containers/json` of Docker 20.10.24: one container with published ports, one with the network of the host.
const DOCKER: &[u8] = include_bytes!("../golden/docker-20.10.json");
/// `GET /v4.0.0/libpod/containers/json` of Podman 4.3.1: published ports, the network of the host, a range of ports, a pod.
const PODMAN: &[u8] = include_bytes!("../golden/podman-4.3.json");

#[test]
fn docker_tells_of_each_port_and_address() {
    let list = parse(EngineKind::Docker, DOCKER).unwrap();

    let names = list.containers.iter().map(|told| told.container.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["hostnet", "shop2"]);
    assert_eq!(list.left_out, 0);
    let [hostnet, shop] = &list.containers[..] else {
        panic!("{list:?}")
    };
    assert_eq!(hostnet.ports, []);
    assert_eq!(hostnet.id.len(), 64);
    assert_eq!(shop.container.image, "bench:1");
    assert_eq!(shop.container.labels["com.docker.compose.project"], "shop");
    assert_eq!(shop.container.labels["team"], "blue");
    assert_eq!(
        shop.ports,
        [
            port(Protocol::Tcp, None, 8080, 8080),
            port(Protocol::Tcp, None, 8080, 8080),
            port(Protocol::Udp, Some("127.0.0.1"), 8081, 8081)
        ]
    );
}

#[test]
fn podman_tells_of_ranges_and_pods() {
    let list = parse(EngineKind::Podman, PODMAN).unwrap();

    let of = |name: &str| {
        let mut containers = list.containers.iter();
        containers.find(|told| told.container.name == name).unwrap()
    };
    assert_eq!(list.containers.len(), 5);
    assert_eq!(list.left_out, 0);
    assert_eq!(
        of("shopper").ports,
        [
            port(Protocol::Tcp, None, 8080, 8080),
            port(Protocol::Udp, Some("127.0.0.1"), 8081, 8081)
        ]
    );
    assert_eq!(of("shopper").container.image, "localhost/bench:1");
    assert_eq!(of("rng").ports, [port(Protocol::Tcp, None, 9000, 9003)]);
    assert_eq!(of("hostnet").ports, []);
    let infra = list.containers.iter().find(|told| told.is_infra).unwrap();
    assert_eq!(of("inpod").pod, infra.pod);
    assert_eq!(of("inpod").ports, infra.ports);
    assert!(of("shopper").pod.is_empty());
}

#[test]
fn ports_that_are_not_published_or_of_another_protocol_are_no_ports_of_this_machine() {
    let ports = json!([
        {"PrivatePort": 80, "Type": "tcp"},
        {"IP": "", "PrivatePort": 80, "PublicPort": 81, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 82, "Type": "tcp"},
        {"IP": "::ffff:10.0.0.1", "PrivatePort": 80, "PublicPort": 83, "Type": "tcp"},
        {"IP": "fd00::1", "PrivatePort": 80, "PublicPort": 84, "Type": "udp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 85, "Type": "sctp"},
    ]);

    let list = docker(&json!([{"Id": "a", "Names": ["/a"], "Ports": ports}]));

    assert_eq!(
        list.containers[0].ports,
        [
            port(Protocol::Tcp, None, 81, 81),
            port(Protocol::Tcp, None, 82, 82),
            port(Protocol::Tcp, Some("10.0.0.1"), 83, 83),
            port(Protocol::Udp, Some("fd00::1"), 84, 84),
        ]
    );
}

#[test]
fn what_is_missing_or_null_is_empty() {
    let list = docker(&json!([
        {"Id": "a"},
        {"Id": "b", "Names": null, "Image": null, "Labels": null, "Ports": null},
        {"Id": "c", "Names": [], "Labels": {"key": null}, "Ports": []},
    ]));

    assert_eq!(list.containers[0].container, Container::default());
    assert_eq!(list.containers[1].container, Container::default());
    assert_eq!(list.containers[2].container.labels["key"], "");
}

#[test]
fn hostile_texts_are_made_safe_and_long_ones_cut() {
    let list = docker(&json!([{
        "Id": "a\u{1b}[2J",
        "Names": ["/a\nb"],
        "Image": "x".repeat(1 << 20),
        "Labels": {"k\u{202e}": "v\u{9b}", "long": "y".repeat(1 << 20)},
    }]));

    let told = &list.containers[0];
    assert_eq!(told.id, "a\u{fffd}[2J");
    assert_eq!(told.container.name, "a\u{fffd}b");
    assert_eq!(told.container.image.chars().count(), KEY_CHARS);
    assert_eq!(told.container.labels["k\u{fffd}"], "v\u{fffd}");
    assert_eq!(told.container.labels["long"].chars().count(), 4096);
}

#[test]
fn a_container_that_is_too_big_is_left_out_and_the_others_stay() {
    let labels = |count: usize| {
        (0..count)
            .map(|number| (number.to_string(), json!("x")))
            .collect::<serde_json::Map<_, _>>()
    };
    let ports = vec![json!({"PublicPort": 1, "Type": "tcp"}); PORTS + 1];

    let list = docker(&json!([
        {"Id": "a", "Labels": labels(LABELS + 1)},
        {"Id": "b", "Labels": labels(LABELS)},
        {"Id": "c", "Ports": ports},
        {"Id": "d"},
    ]));

    let ids = list.containers.iter().map(|told| told.id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["b", "d"]);
    assert_eq!(list.left_out, 2);
}

#[test]
fn no_list_makes_us_keep_more_than_is_allowed() {
    let big = (0..LABELS)
        .map(|number| (number.to_string(), json!("x".repeat(4000))))
        .collect::<serde_json::Map<_, _>>();
    let mut containers = (0..8)
        .map(|number| json!({"Id": number.to_string(), "Labels": big}))
        .collect::<Vec<_>>();
    containers.push(json!({"Id": "small"}));

    let list = docker(&Value::from(containers));

    let kept = list.containers.iter().map(Told::bytes).sum::<usize>();
    assert!(kept <= KEPT_BYTES, "{kept}");
    assert_eq!(list.containers.last().unwrap().id, "small");
    assert_eq!(list.left_out + list.containers.len(), 9);
    // It also fits into one report, whatever JSON makes of the texts.
    let report = serde_json::to_vec(&list).unwrap();
    assert!(
        report.len() < super::super::report::REPORT_BYTES,
        "{}",
        report.len()
    );
}

#[test]
fn what_is_no_list_is_an_error() {
    for json in [
        "",
        "{}",
        "null",
        "[1]",
        "[{\"Id\":1}]",
        "[{\"Id\":\"a\"}",
        "[{\"Id\":\"a\",\"Ports\":{}}]",
        "[{\"Names\":[\"/a\"]}]",
        "[{\"Id\":\"a\",\"Ports\":[{\"PublicPort\":65536,\"Type\":\"tcp\"}]}]",
    ] {
        assert!(parse(EngineKind::Docker, json.as_bytes()).is_err(), "{json}");
    }
    assert!(parse(EngineKind::Podman, "[".repeat(100_000).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(bytes: Vec<u8>) {
        drop(parse(EngineKind::Docker, &bytes));
        drop(parse(EngineKind::Podman, &bytes));
    }

    #[test]
    fn no_text_survives_that_must_not_be_shown(name: String, image: String, key: String, text: String) {
        let list = docker(&json!([{"Id": "a", "Names": [name], "Image": image, "Labels": {key: text}}]));

        let Container { name, image, labels, .. } = &list.containers[0].container;
        let texts = labels.iter().flat_map(|(key, text)| [key, text]).chain([name, image]);
        prop_assert!(texts.flat_map(|text| text.chars()).all(|char| !is_hostile(char)));
    }
}

fn docker(json: &Value) -> List {
    parse(EngineKind::Docker, json.to_string().as_bytes()).unwrap()
}

fn port(protocol: Protocol, ip: Option<&str>, first: u16, last: u16) -> Published {
    Published {
        protocol,
        ip: ip.map(|ip| ip.parse().unwrap()),
        ports: (first, last),
    }
}
