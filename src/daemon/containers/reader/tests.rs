#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener as BlockingListener;

use futures_util::StreamExt;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_util::codec::{FramedRead, LinesCodec};

use super::*;
use crate::containers::fake::{self, Fake, HEAD, Manner, docker_list};

/// Long enough for everything that must come, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A reader in this process, from the daemon's side.
struct Reading {
    reports: FramedRead<tokio::io::ReadHalf<DuplexStream>, LinesCodec>,
    wishes: tokio::io::WriteHalf<DuplexStream>,
    task: JoinHandle<io::Result<()>>,
}

impl Reading {
    async fn start(engine: Engine, sockets: Sockets) -> Self {
        let mut reading = Self::silent(sockets);
        let question = report::line(&engine).unwrap();
        reading.wishes.write_all(&question).await.unwrap();
        reading
    }

    fn silent(sockets: Sockets) -> Self {
        let (ours, its) = duplex(64 * 1024);
        let (input, wishes) = split(ours);
        Self {
            reports: FramedRead::new(input, LinesCodec::new_with_max_length(report::REPORT_BYTES)),
            wishes,
            task: tokio::spawn(async move { serve(its, &sockets).await }),
        }
    }

    async fn next(&mut self) -> Report {
        let line = timeout(LIMIT, self.reports.next()).await.unwrap();
        report::read(&line.unwrap().unwrap()).unwrap()
    }

    async fn wish(&mut self) {
        self.wishes.write_all(b"\n").await.unwrap();
    }

    /// The names of the next list.
    async fn names(&mut self) -> Vec<String> {
        match self.next().await.answer {
            Answer::List(list) => list
                .containers
                .into_iter()
                .map(|told| told.container.name)
                .collect(),
            other @ (Answer::Silent(_) | Answer::Absent(_)) => panic!("no list: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_list_comes_at_once_and_again_at_each_event_and_each_wish() {
    let fake = Fake::start(EngineKind::Docker, docker_list("one", 80), Manner::Tells);
    let mut reading = Reading::start(fake.engine, fake.sockets()).await;
    assert_eq!(reading.names().await, ["one"]);

    fake.list(docker_list("two", 80));
    fake.tell();
    assert_eq!(reading.names().await, ["two"]);

    fake.list(docker_list("three", 80));
    reading.wish().await;
    let report = reading.next().await;
    assert_eq!(report.again, 1);
    let Answer::List(list) = report.answer else {
        panic!("no list")
    };
    assert_eq!(list.containers[0].container.name, "three");
    assert_eq!(fake.lists(), 3);
    assert_eq!(fake.follows(), 1);
}

#[tokio::test]
async fn podman_is_asked_in_its_own_way() {
    let list = include_str!("../golden/podman-4.3.json").to_owned();
    let fake = Fake::start(EngineKind::Podman, Manner::Says(list), Manner::Tells);

    let names = Reading::start(fake.engine, fake.sockets()).await.names().await;

    assert_eq!(names.len(), 5);
    assert!(names.contains(&"rng".to_owned()));
}

#[tokio::test]
async fn it_ends_when_the_other_side_goes() {
    let fake = Fake::start(EngineKind::Docker, docker_list("one", 80), Manner::Tells);
    let mut reading = Reading::start(fake.engine, fake.sockets()).await;
    reading.names().await;

    let Reading {
        reports,
        wishes,
        task,
    } = reading;
    drop((reports, wishes));

    timeout(LIMIT, task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn it_ends_when_the_question_makes_no_sense() {
    for question in [
        "\n",
        "{\"kind\":\"docker\"}\n",
        "{\"kind\":\"docker\",\"uid\":0,\"path\":\"/etc/shadow\"}\n",
        "{\"kind\":\"lxc\",\"uid\":0}\n",
        &"x".repeat(QUESTION_BYTES * 2),
    ] {
        let folder = fake::folder();
        let mut reading = Reading::silent(fake::sockets(&folder));

        reading.wishes.write_all(question.as_bytes()).await.unwrap();

        let ended = timeout(LIMIT, reading.task).await.unwrap().unwrap();
        assert!(ended.is_err(), "{question}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_its_is_absent_and_the_reason_names_the_fix() {
    let docker = fake::own(EngineKind::Docker);
    type Make = fn(&std::path::Path);
    let make: [(&str, Make); 4] = [
        ("start", |_| {}),
        ("Connection refused", |path| {
            drop(BlockingListener::bind(path).unwrap())
        }),
        ("no socket", |path| fs::write(path, "").unwrap()),
        ("symbolic link", |path| {
            let real = path.with_extension("real");
            // Somebody serves it, so that only the link is wrong.
            std::mem::forget(BlockingListener::bind(&real).unwrap());
            symlink(real, path).unwrap();
        }),
    ];
    for (expected, make) in make {
        let folder = fake::folder();
        make(&fake::socket_path(&folder, docker));

        let report = Reading::start(docker, fake::sockets(&folder)).await.next().await;

        let Answer::Absent(text) = report.answer else {
            panic!("{expected}: {report:?}")
        };
        assert!(text.contains("docker.sock"), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn the_way_to_a_socket_leads_through_no_link_either() {
    let podman = fake::own(EngineKind::Podman);
    let folder = fake::folder();
    let path = fake::socket_path(&folder, podman);
    let _listener = BlockingListener::bind(&path).unwrap();
    let parent = path.parent().unwrap();
    fs::rename(parent, parent.with_extension("real")).unwrap();
    symlink(parent.with_extension("real"), parent).unwrap();

    let report = Reading::start(podman, fake::sockets(&folder)).await.next().await;

    let Answer::Absent(text) = report.answer else {
        panic!("{report:?}")
    };
    assert!(text.contains("symbolic link"), "{text}");
}

#[tokio::test]
async fn a_user_cannot_pass_off_the_socket_of_another_as_his_own() {
    let other = Engine {
        kind: EngineKind::Docker,
        uid: nix::unistd::geteuid().as_raw() + 4242,
    };
    let folder = fake::folder();
    let _listener = BlockingListener::bind(fake::socket_path(&folder, other)).unwrap();

    let report = Reading::start(other, fake::sockets(&folder)).await.next().await;

    let Answer::Absent(text) = report.answer else {
        panic!("{report:?}")
    };
    assert!(text.contains("another user"), "{text}");
}

#[tokio::test]
async fn what_refuses_is_absent_and_what_fails_is_silent() {
    for (status, is_absent) in [(401, true), (403, true), (404, false), (500, false), (503, false)] {
        let fake = Fake::start(EngineKind::Docker, Manner::Refuses(status), Manner::Tells);

        let report = Reading::start(fake.engine, fake.sockets()).await.next().await;

        assert_eq!(
            matches!(report.answer, Answer::Absent(_)),
            is_absent,
            "{report:?}"
        );
        assert!(!matches!(report.answer, Answer::List(_)));
    }
}

#[tokio::test]
async fn an_engine_that_misbehaves_is_silent_and_served_again_when_it_does_not() {
    let chunk = [b"10000\r\n".to_vec(), vec![b'['; 0x1_0000], b"\r\n".to_vec()].concat();
    let list = "[{\"Id\":\"a\",\"Labels\":{\"a\":\"";
    let misbehaviour = [
        ("closes at once", Manner::Sends(vec![])),
        (
            "closes midway",
            Manner::Sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[{".to_vec()),
        ),
        (
            "speaks something else",
            Manner::Sends(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ),
        ("says nonsense", Manner::Says("<html>".to_owned())),
        (
            "has an endless head",
            Manner::Floods(b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".to_vec()),
        ),
        ("has an endless body", Manner::Floods(HEAD.to_vec(), chunk)),
        (
            "has a gigantic label",
            Manner::Says(format!("{list}{}", "x".repeat(LIST_BYTES))),
        ),
        ("accepts and hangs", Manner::Hangs(vec![])),
        ("hangs midway", Manner::Hangs([HEAD, b"2\r\n[{\r\n"].concat())),
    ];
    for (what, manner) in misbehaviour {
        let fake = Fake::start(EngineKind::Docker, manner, Manner::Tells);
        let mut reading = Reading::start(fake.engine, fake.sockets()).await;

        let report = reading.next().await;
        assert!(matches!(report.answer, Answer::Silent(_)), "{what}: {report:?}");

        fake.list(docker_list("one", 80));
        let healed = async {
            loop {
                if let Answer::List(list) = reading.next().await.answer {
                    break list;
                }
            }
        };
        let list = timeout(LIMIT, healed).await.unwrap();
        assert_eq!(list.containers[0].container.name, "one", "{what}");
    }
}

#[tokio::test]
async fn what_an_engine_says_instead_of_a_list_is_shown_in_part_and_made_safe() {
    let text = format!(r#"[{{"Id":"a","Ports":"{}"}}]"#, "\u{202e}x".repeat(100_000));
    let fake = Fake::start(EngineKind::Docker, Manner::Says(text), Manner::Tells);

    let report = Reading::start(fake.engine, fake.sockets()).await.next().await;

    let Answer::Silent(text) = report.answer else {
        panic!("{report:?}")
    };
    assert!(!text.chars().any(wslnet_console::text::is_hostile), "{text:?}");
    assert!(text.chars().count() < 1000, "{text}");
}

#[tokio::test]
async fn a_flood_of_events_makes_no_flood_of_lists() {
    let flood = Manner::Floods(HEAD.to_vec(), b"3\r\n{}\n\r\n".repeat(10_000));
    let fake = Fake::start(EngineKind::Docker, docker_list("one", 80), flood);
    let begun = Instant::now();
    let mut reading = Reading::start(fake.engine, fake.sockets()).await;

    for _ in 0..5 {
        reading.names().await;
    }

    assert!(begun.elapsed() >= GAP * 4, "{:?}", begun.elapsed());
    // And it still listens to the other side.
    reading.wish().await;
    let answered = async { while reading.next().await.again == 0 {} };
    timeout(LIMIT, answered).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_comes_back_is_found_at_the_next_wish() {
    let folder = std::sync::Arc::new(fake::folder());
    let docker = fake::own(EngineKind::Docker);
    let mut reading = Reading::start(docker, fake::sockets(&folder)).await;
    assert!(matches!(reading.next().await.answer, Answer::Absent(_)));

    let _fake = Fake::start_in(folder, EngineKind::Docker, docker_list("one", 80), Manner::Tells);
    reading.wish().await;

    let answered = async {
        loop {
            let report = reading.next().await;
            if report.again == 1 {
                break report;
            }
        }
    };
    let report = timeout(LIMIT, answered).await.unwrap();
    assert!(matches!(report.answer, Answer::List(_)), "{report:?}");
}

#[tokio::test]
async fn an_engine_that_ends_is_told_of() {
    let fake = Fake::start(EngineKind::Docker, docker_list("one", 80), Manner::Tells);
    let mut reading = Reading::start(fake.engine, fake.sockets()).await;
    reading.names().await;
    let folder = fake.folder();

    drop(fake);

    let told = async { while !matches!(reading.next().await.answer, Answer::Absent(_)) {} };
    timeout(LIMIT, told).await.unwrap();
    drop(folder);
}
