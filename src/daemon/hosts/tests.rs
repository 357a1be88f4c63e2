#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use tempfile::TempDir;
use wslnet_hosts::{NAMES, Place as _, Written};

use super::*;
use crate::network::NetworkView;
use crate::picture::fixture::{VM, World, bound, ours};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 28, 0, 1);

#[test]
fn windows_and_the_forwards_with_a_name_are_in_the_file() {
    let mut world = World::with(vec![
        ours(1, 8000),
        ours(2, 8001),
        bound(3, [127, 0, 0, 1].into(), 8002),
    ]);
    world.config = "[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n[[rule]]\nwhen = \"port=8002\"\nname = \"private\"\n";

    let names = names(&world.picture(), &network());

    let found: Vec<String> = names.iter().map(|(name, ip)| format!("{ip} {name}")).collect();
    assert_eq!(
        found,
        [format!("{VM} shop.wsl"), format!("{GATEWAY} windows.wsl")]
    );
}

#[test]
fn windows_is_where_the_networking_mode_has_it() {
    for (mode, address) in [
        (NetworkMode::Nat, Some(GATEWAY)),
        (NetworkMode::Mirrored, Some(Ipv4Addr::LOCALHOST)),
        (NetworkMode::Bridged, None),
        (NetworkMode::Unknown("new".to_owned()), None),
    ] {
        assert_eq!(windows(&mode, &network()), address.map(IpAddr::from), "{mode}");
    }
    assert_eq!(windows(&NetworkMode::Nat, &NetworkView::default()), None);
}

#[tokio::test]
async fn the_helper_is_asked_only_where_the_file_is_not_as_it_should_be() {
    let place = Place::new("127.0.0.1 localhost\n10.0.0.9 nas.wsl\n");
    let mut asker = Asker::new(place.places());
    // There is no helper yet, and no need for one.
    assert_eq!(asker.put(&Names::default()).await, Ok(Written::default()));
    let refused = asker.put(&wanted()).await.unwrap_err();
    assert!(
        refused.contains("systemctl enable --now wslnetd-hosts.socket"),
        "{refused}"
    );

    let helper = place.helper(2);
    let written = asker.put(&wanted()).await.unwrap();
    assert!(written.changed && written.taken == [HostName::of_forward("nas").unwrap()].into());
    assert!(
        place.text().contains("172.28.0.1 windows.wsl # wslnet\n"),
        "{}",
        place.text()
    );
    assert!(!asker.put(&wanted()).await.unwrap().changed);
    assert!(asker.put(&Names::default()).await.unwrap().changed);

    assert_eq!(place.text(), "127.0.0.1 localhost\n10.0.0.9 nas.wsl\n");
    helper.join().unwrap();
}

#[tokio::test]
async fn what_the_helper_cannot_do_is_a_reason() {
    let place = Place::new("");
    let mut asker = Asker::new(Places {
        file: place.folder.path().join("other"),
        ..place.places()
    });
    std::fs::write(place.folder.path().join("other"), "").unwrap();
    std::fs::remove_file(place.file()).unwrap();
    let helper = place.helper(1);

    let refused = asker.put(&wanted()).await.unwrap_err();

    assert!(refused.contains("does not exist"), "{refused}");
    helper.join().unwrap();
}

#[test]
fn the_helper_takes_nothing_but_names_below_wsl() {
    let place = Place::new("127.0.0.1 localhost\n");
    let many: Vec<String> = (0..=NAMES)
        .map(|n| format!("\"a{n}.wsl\":\"10.0.0.1\""))
        .collect();
    for question in [
        "",
        "{",
        "[]",
        r#"{"google.com":"10.0.0.1"}"#,
        r#"{"a.b.wsl":"10.0.0.1"}"#,
        r#"{"localhost.wsl":"10.0.0.1"}"#,
        "{\"a.wsl\\n10.0.0.1 google.com\":\"10.0.0.1\"}",
        r#"{"a.wsl":"10.0.0.1 google.com"}"#,
        r#"{"a.wsl":"0.0.0.0"}"#,
        r#"{"a.wsl":"10.0.0.1"} {"b.wsl":"10.0.0.1"}"#,
        &format!("{{{}}}", many.join(",")),
        &" ".repeat(100_000),
    ] {
        let (mut asker, stream) = UnixStream::pair().unwrap();
        let path = place.file();
        let helper = std::thread::spawn(move || helper::serve(stream, &path));
        // It hangs up in the middle of what is too long.
        let _ = asker.write_all(question.as_bytes());
        let _ = asker.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = asker.read_to_string(&mut answer);

        assert!(helper.join().unwrap().is_err(), "{question:.60}");
        assert_eq!(answer, "");
    }
    assert_eq!(place.text(), "127.0.0.1 localhost\n");
}

#[test]
fn a_daemon_that_says_nothing_does_not_keep_the_helper() {
    let place = Place::new("");
    let (_silent, stream) = UnixStream::pair().unwrap();

    let begun = std::time::Instant::now();
    let outcome = helper::serve(stream, &place.file());

    assert!(outcome.is_err() && begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_status_says_what_is_there_and_what_is_not() {
    let told = |outcome| Told {
        names: wanted(),
        outcome,
    };

    assert_eq!(summary(&told(None)), "not looked at yet");
    assert_eq!(summary(&told(Some(Err("no".to_owned())))), "no");
    let taken = [HostName::of_forward("nas").unwrap()].into();
    assert_eq!(
        summary(&told(Some(Ok(taken)))),
        "windows.wsl 172.28.0.1, not nas.wsl, which a line of somebody else's has"
    );
}

/// A hosts file and a helper of a test's own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hosts"), text).unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }

    fn places(&self) -> Places {
        Places {
            file: self.file(),
            socket: self.folder.path().join("helper.sock"),
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// Answers as many questions as systemd would start helpers for.
    fn helper(&self, questions: usize) -> std::thread::JoinHandle<()> {
        let Places { file, socket } = self.places();
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(questions) {
                helper::serve(stream.unwrap(), &file).unwrap();
            }
        })
    }
}

fn wanted() -> Names {
    let mut names = Names::default();
    names.add(HostName::windows(), GATEWAY.into()).unwrap();
    names
        .add(HostName::of_forward("nas").unwrap(), VM.into())
        .unwrap();
    names
}

fn network() -> NetworkView {
    NetworkView {
        default_gateway_v4: Some((GATEWAY, 2)),
        ..NetworkView::default()
    }
}
