#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;
use crate::containers::fixture::listener;
use crate::containers::{EngineKind, demand};

const DOCKER: Engine = Engine {
    kind: EngineKind::Docker,
    uid: 0,
};
const PODMAN: Engine = Engine {
    kind: EngineKind::Podman,
    uid: 0,
};

/// What is told in one word, for tables.
fn word(found: &Found<'_>, start: Instant) -> String {
    match found {
        Found::Nothing => "nothing".to_owned(),
        Found::Container(container) => container.name.clone(),
        Found::Waits { until: None, .. } => "waits".to_owned(),
        Found::Waits { until: Some(at), .. } => format!("waits until {}", (*at - start).as_secs()),
    }
}

#[test]
fn who_holds_a_listener_and_what_its_engine_said_decide() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let absent = || Answer::Absent("no socket".to_owned());
    let silent = || Answer::Silent("no answer".to_owned());
    // The listener is on port 80 and was first seen at 100.
    let cases = [
        // Nobody was asked, or nothing was answered since.
        ("docker-proxy", 105, vec![], "waits"),
        ("docker-proxy", 105, vec![(90, shop(80))], "waits"),
        ("docker-proxy", 105, vec![(90, absent())], "waits"),
        ("docker-proxy", 900, vec![(101, silent())], "waits"),
        ("dockerd", 900, vec![], "waits"),
        ("dockerd", 900, vec![(90, shop(80)), (101, silent())], "waits"),
        // It was told of.
        ("docker-proxy", 105, vec![(100, shop(80))], "shop"),
        ("dockerd", 105, vec![(101, shop(80))], "shop"),
        ("containerd-shim", 105, vec![(101, shop(80))], "shop"),
        ("rootlesskit", 105, vec![(101, shop(80))], "shop"),
        // It was not told of.
        ("docker-proxy", 900, vec![(101, shop(81))], "waits"),
        ("dockerd", 109, vec![(101, shop(81))], "waits until 110"),
        ("dockerd", 110, vec![(101, shop(81))], "nothing"),
        ("docker-proxy", 900, vec![(101, too_big())], "waits"),
        ("dockerd", 900, vec![(101, too_big())], "waits"),
        // There is nobody to tell of it.
        ("docker-proxy", 105, vec![(100, absent())], "nothing"),
        ("dockerd", 105, vec![(100, absent())], "nothing"),
        (
            "docker-proxy",
            105,
            vec![(90, shop(81)), (101, absent())],
            "nothing",
        ),
        // The engine went or fell silent later: facts stay.
        (
            "docker-proxy",
            900,
            vec![(101, shop(80)), (102, absent())],
            "shop",
        ),
        (
            "docker-proxy",
            900,
            vec![(101, shop(80)), (102, silent())],
            "shop",
        ),
        // It came back.
        (
            "docker-proxy",
            900,
            vec![(101, absent()), (102, shop(80))],
            "shop",
        ),
        (
            "docker-proxy",
            900,
            vec![(101, absent()), (102, shop(81))],
            "waits",
        ),
        (
            "docker-proxy",
            900,
            vec![(101, absent()), (102, silent())],
            "waits",
        ),
        // The container stopped, its listener is about to.
        (
            "docker-proxy",
            900,
            vec![(101, shop(80)), (102, shop(81))],
            "waits",
        ),
        // Not an engine's, whatever the engine says.
        ("nginx", 105, vec![(101, shop(80))], "nothing"),
        ("docker-proxyx", 105, vec![(101, shop(80))], "nothing"),
    ];

    for (holder, now, said, expected) in cases {
        let mut containers = Containers::default();
        let case = format!("{holder} at {now}: {said:?}");
        for (asked, answer) in said {
            containers.hear(DOCKER, at(asked), answer);
        }

        let listener = listener("0.0.0.0:80", 0, &[holder], at(100));
        let found = containers.of(&listener, at(now));

        assert_eq!(word(&found, start), expected, "{case}");
    }
}

#[test]
fn each_user_has_engines_of_his_own() {
    let now = Instant::now();
    let of_user = Engine { uid: 1000, ..DOCKER };
    let mut containers = Containers::default();
    containers.hear(DOCKER, now, shop(80));

    let pretender = listener("0.0.0.0:80", 1000, &["docker-proxy"], now);

    assert_eq!(
        demand(std::slice::from_ref(&pretender)),
        BTreeMap::from([(of_user, now)])
    );
    assert_eq!(word(&containers.of(&pretender, now), now), "waits");
    containers.hear(of_user, now, list([told("own", &[(None, 80, 80)])]));
    assert_eq!(word(&containers.of(&pretender, now), now), "own");
}

#[test]
fn ports_are_matched_by_protocol_address_and_number() {
    let now = Instant::now();
    let mut containers = Containers::default();
    let answer = list([
        told("all", &[(None, 80, 80)]),
        told("one", &[(Some("10.0.0.1"), 81, 81)]),
        told("six", &[(Some("fd00::1"), 82, 82)]),
        told("range", &[(None, 9000, 9003)]),
    ]);
    containers.hear(DOCKER, now, answer);

    for (address, expected) in [
        ("0.0.0.0:80", "all"),
        ("[::]:80", "all"),
        ("[::ffff:0.0.0.0]:80", "all"),
        ("127.0.0.1:80", "waits"),
        ("10.0.0.1:81", "one"),
        ("[::ffff:10.0.0.1]:81", "one"),
        ("10.0.0.2:81", "waits"),
        ("0.0.0.0:81", "waits"),
        ("[fd00::1]:82", "six"),
        ("0.0.0.0:8999", "waits"),
        ("0.0.0.0:9000", "range"),
        ("0.0.0.0:9003", "range"),
        ("0.0.0.0:9004", "waits"),
    ] {
        let listener = listener(address, 0, &["docker-proxy"], now);
        assert_eq!(word(&containers.of(&listener, now), now), expected, "{address}");
    }
    let mut udp = listener("0.0.0.0:80", 0, &["docker-proxy"], now);
    udp.socket.protocol = Protocol::Udp;
    assert_eq!(word(&containers.of(&udp, now), now), "waits");
}

#[test]
fn a_pod_answers_as_one_and_its_infrastructure_only_when_it_is_alone() {
    let now = Instant::now();
    let in_pod = |name: &str, pod: &str, is_infra, port| Told {
        pod: pod.to_owned(),
        is_infra,
        ..told(name, &[(None, port, port)])
    };
    let mut containers = Containers::default();
    let answer = list([
        in_pod("a-infra", "1", true, 80),
        in_pod("web", "1", false, 80),
        in_pod("log", "1", false, 80),
        in_pod("b-infra", "2", true, 81),
    ]);
    containers.hear(PODMAN, now, answer);

    let conmon = |address| listener(address, 0, &["conmon"], now);
    let (full, empty) = (conmon("0.0.0.0:80"), conmon("0.0.0.0:81"));
    let (full, empty) = (containers.of(&full, now), containers.of(&empty, now));

    let names = |found| match found {
        Found::Container(container) => container.all().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        other @ (Found::Nothing | Found::Waits { .. }) => panic!("{other:?}"),
    };
    assert_eq!(names(full), ["log", "web"]);
    assert_eq!(names(empty), ["b-infra"]);
}

#[test]
fn a_socket_that_is_handed_over_is_its_keepers() {
    let now = Instant::now();
    let mut containers = Containers::default();
    containers.hear(DOCKER, now, shop(81));

    let both = listener("0.0.0.0:80", 0, &["dockerd", "docker-proxy"], now);

    // Not until ten seconds have passed: it is a container's.
    assert_eq!(word(&containers.of(&both, now), now), "waits");
}

#[test]
fn what_makes_networks_for_either_engine_is_asked_of_both() {
    let now = Instant::now();
    let pasta = listener("0.0.0.0:80", 1000, &["pasta.avx2"], now);
    let [docker, podman] = [EngineKind::Docker, EngineKind::Podman].map(|kind| Engine { kind, uid: 1000 });
    let absent = || Answer::Absent("no socket".to_owned());
    let mut containers = Containers::default();

    assert_eq!(demand(std::slice::from_ref(&pasta)).len(), 2);
    containers.hear(docker, now, absent());
    assert_eq!(word(&containers.of(&pasta, now), now), "waits");
    containers.hear(podman, now, shop(81));
    assert_eq!(word(&containers.of(&pasta, now), now), "waits until 10");
    containers.hear(podman, now, shop(80));
    assert_eq!(word(&containers.of(&pasta, now), now), "shop");
    containers.hear(podman, now + PATIENCE, absent());
    let later = listener("0.0.0.0:80", 1000, &["pasta.avx2"], now + PATIENCE);
    containers.hear(docker, now + PATIENCE, absent());
    assert_eq!(word(&containers.of(&later, now + PATIENCE), now), "nothing");
}

#[test]
fn a_process_inside_a_container_is_found_by_the_containers_id() {
    let now = Instant::now();
    let mut containers = Containers::default();
    containers.hear(DOCKER, now, shop(80));
    let inside = |id: &str| {
        let mut listener = listener("0.0.0.0:8090", 33, &["nginx"], now);
        Arc::make_mut(listener.owner.as_mut().unwrap()).holders[0].container = Some(id.to_owned());
        listener
    };
    let answer = |containers: &Containers, id, seconds| {
        let listener = inside(id);
        let found = containers.of(&listener, now + Duration::from_secs(seconds));
        word(&found, now)
    };

    assert_eq!(answer(&containers, "id of shop", 1), "shop");
    assert_eq!(answer(&containers, "another", 20), "waits");
    let demand = demand(&[inside("another")]);
    assert_eq!(
        demand.len(),
        4,
        "both engines of the system and of the user: {demand:?}"
    );
    for engine in demand.into_keys() {
        containers.hear(engine, now, Answer::Absent("no socket".to_owned()));
    }
    assert_eq!(answer(&containers, "another", 1), "nothing");
    containers.hear(DOCKER, now, shop(80));
    assert_eq!(answer(&containers, "another", 1), "waits until 10");
    assert_eq!(answer(&containers, "another", 10), "nothing");
    assert_eq!(answer(&containers, "id of shop", 20), "shop");
}

#[test]
fn the_program_that_watches_a_container_is_not_inside_of_it() {
    let now = Instant::now();
    let mut containers = Containers::default();
    let mut conmon = listener("0.0.0.0:80", 0, &["conmon"], now);
    Arc::make_mut(conmon.owner.as_mut().unwrap()).holders[0].container =
        Some("id of an infrastructure container".to_owned());

    containers.hear(PODMAN, now, shop(80));

    assert_eq!(word(&containers.of(&conmon, now), now), "shop");
    assert_eq!(demand(&[conmon]), BTreeMap::from([(PODMAN, now)]));
}

#[test]
fn only_engines_of_listeners_are_in_demand_and_since_the_newest_of_them() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut foreign = listener("0.0.0.0:80", 0, &["docker-proxy"], now);
    foreign.owner = None;
    let listeners = [
        listener("0.0.0.0:80", 0, &["nginx"], now),
        foreign,
        listener("0.0.0.0:81", 0, &["docker-proxy"], later),
        listener("0.0.0.0:82", 0, &["dockerd"], now),
        listener("0.0.0.0:83", 7, &["conmon"], now),
    ];

    let demand = demand(&listeners);

    let of_user = Engine { uid: 7, ..PODMAN };
    assert_eq!(demand, BTreeMap::from([(DOCKER, later), (of_user, now)]));
}

#[test]
fn troubles_are_told_where_they_matter() {
    let now = Instant::now();
    let mut containers = Containers::default();
    let known = listener("0.0.0.0:80", 0, &["docker-proxy"], now);
    let unknown = listener("0.0.0.0:81", 0, &["docker-proxy"], now);
    containers.hear(DOCKER, now, shop(80));
    containers.hear(DOCKER, now, Answer::Silent("it sleeps; wake it".to_owned()));
    containers.hear(PODMAN, now, Answer::Absent("not there".to_owned()));

    assert_eq!(containers.troubles(std::slice::from_ref(&known), now).len(), 0);
    assert_eq!(
        Vec::from_iter(containers.troubles(&[known, unknown.clone()], now)),
        ["the labels of containers of Docker are not known: it sleeps; wake it"]
    );
    let Found::Waits { reason, .. } = containers.of(&unknown, now) else {
        panic!("it waits")
    };
    assert!(reason.contains("Docker"), "{reason}");
}

fn shop(port: u16) -> Answer {
    list([told("shop", &[(None, port, port)])])
}

fn too_big() -> Answer {
    Answer::List(List {
        containers: Vec::new(),
        left_out: 1,
    })
}

fn list<const N: usize>(containers: [Told; N]) -> Answer {
    Answer::List(List {
        containers: containers.into(),
        left_out: 0,
    })
}

fn told(name: &str, ports: &[(Option<&str>, u16, u16)]) -> Told {
    let ports = ports
        .iter()
        .map(|(ip, first, last)| super::super::list::Published {
            protocol: Protocol::Tcp,
            ip: ip.map(|ip| ip.parse().unwrap()),
            ports: (*first, *last),
        });
    Told {
        id: format!("id of {name}"),
        container: Container {
            name: name.to_owned(),
            ..Container::default()
        },
        ports: ports.collect(),
        ..Told::default()
    }
}
