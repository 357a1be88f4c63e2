//! What real programs say of themselves by `WSLNETD=`, also those that do all they can to keep us waiting.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::thread;

use self::speaker::{SPEAKER, Speaker};
use super::*;
use crate::labels::{Labels, declarations, labels_of};
use crate::listeners::{Scanner, SourceChoice, UdpInterest};

#[test]
fn a_program_that_says_off_is_labelled_in_the_first_picture() {
    let speaker = Speaker::start(SPEAKER, |command| command.env("WSLNETD", "off,name=shop"));
    let mut eyes = Eyes::new();

    let (labels, declared) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), Some("off,name=shop"));
    assert_eq!(declared, Declared::Known);
}

#[test]
fn nothing_else_of_an_environment_is_kept() {
    let speaker = Speaker::start(SPEAKER, |command| {
        command
            .env("SECRET", "hunter2")
            .env("WSLNETD", "lan")
            .env("WSLNETD_SECRET", "hunter2")
    });
    let mut eyes = Eyes::new();

    let (labels, _) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), Some("lan"));
    assert!(!format!("{labels} {:?}", eyes.attributor).contains("hunter2"));
}

#[test]
fn a_program_that_says_nothing_has_no_such_label() {
    let speaker = Speaker::start(SPEAKER, |command| command.env_remove("WSLNETD"));
    let mut eyes = Eyes::new();

    let (labels, declared) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), None);
    assert_eq!(declared, Declared::Known);
}

#[test]
fn hostile_words_come_out_clean_and_endless_ones_not_at_all() {
    let mut eyes = Eyes::new();
    for (said, heard) in [
        (
            &b"off\x1b[2J\n\xff\xe2\x80\xaex"[..],
            Some("off\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x"),
        ),
        (&[b'x'; 100_000], None),
    ] {
        let said = OsStr::from_bytes(said);
        let speaker = Speaker::start(SPEAKER, |command| command.env("WSLNETD", said));

        let (labels, declared) = eyes.look(&speaker, Instant::now());

        assert_eq!(labels.get("wslnetd"), heard);
        assert_eq!(declared == Declared::Known, heard.is_some(), "{declared:?}");
    }
}

#[test]
fn a_word_behind_a_megabyte_is_found() {
    let speaker = Speaker::start(SPEAKER, |command| {
        for number in 0..10 {
            command.env(format!("A{number}"), "x".repeat(100_000));
        }
        command.env("WSLNETD", "host")
    });
    let mut eyes = Eyes::new();

    let (labels, _) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), Some("host"));
}

#[test]
fn the_same_program_started_again_with_another_word_is_heard_again() {
    let mut speaker = Speaker::start(SPEAKER, |command| command.env("WSLNETD", "lan"));
    let mut eyes = Eyes::new();
    let start = Instant::now();
    let (before, _) = eyes.look(&speaker, start);

    speaker.order("WSLNETD=off");
    let (after, _) = eyes.look(&speaker, start + VERIFY);
    speaker.order("WSLNETB=off");
    let (silent, _) = eyes.look(&speaker, start + 2 * VERIFY);

    assert_eq!(before.get("wslnetd"), Some("lan"));
    assert_eq!(after.get("wslnetd"), Some("off"));
    assert_eq!(silent.get("wslnetd"), None);
    assert_eq!(
        (before.get("process"), before.get("exe")),
        (after.get("process"), after.get("exe"))
    );
}

#[test]
fn a_program_is_asked_once() {
    let speaker = Speaker::start(SPEAKER, |command| command.env("WSLNETD", "lan"));
    let mut eyes = Eyes::new();
    let start = Instant::now();

    for seconds in 0..100 {
        eyes.look(&speaker, start + 1000 * seconds * MS);
    }

    assert_eq!(eyes.attributor.declarations.asked, 1);
}

#[test]
fn a_forked_worker_is_not_asked() {
    let mut speaker = Speaker::start(
        r#"
import os, socket, sys

listener = socket.create_server(("127.0.0.1", 0))
os.write(1, f"{listener.getsockname()[1]}\nready\n".encode())
sys.stdin.readline()
ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    os.read(ended, 1)
    os._exit(0)
os.write(1, b"ready\n")
sys.stdin.readline()
"#,
        |command| command.env("WSLNETD", "lan"),
    );
    let mut eyes = Eyes::new();
    let start = Instant::now();
    eyes.look(&speaker, start);

    speaker.order("fork");
    let (labels, declared) = eyes.look(&speaker, start + VERIFY);

    assert_eq!(eyes.holders(), 2);
    assert_eq!((labels.get("wslnetd"), declared), (Some("lan"), Declared::Known));
    assert_eq!(eyes.attributor.declarations.asked, 1);
}

#[test]
fn an_environment_that_cannot_be_read_delays_nobody_and_may_say_off() {
    let Some(blocker) = Speaker::blocker(0) else {
        return;
    };
    let speaker = Speaker::start(SPEAKER, |command| command.env("WSLNETD", "lan"));
    let mut eyes = Eyes::impatient();
    let start = Instant::now();

    let (labels, fresh) = eyes.look(&blocker, start);
    let clock = Instant::now();
    for after in 1..2000 {
        let (_, declared) = eyes.look(&blocker, start + after * MS);
        assert_eq!(declared, Declared::Pending, "after {after} ms");
    }
    let looks_took = clock.elapsed();
    let mut both = eyes.see(&[&blocker, &speaker], start + 2000 * MS);
    let deadline = Instant::now() + Duration::from_secs(20);
    while both[1].1 == Declared::Pending {
        assert!(Instant::now() < deadline, "no answer for the other program");
        both = eyes.see(&[&blocker, &speaker], start + 2000 * MS);
    }

    assert_eq!(fresh, Declared::Pending);
    assert_eq!(labels.get("wslnetd"), None);
    assert!(
        labels
            .get("process")
            .is_some_and(|name| name.starts_with("python3")),
        "{labels}"
    );
    // Two thousand looks, the first of which may wait. Were each to wait, this would take forty seconds.
    assert!(looks_took < Duration::from_secs(20), "{looks_took:?}");
    assert_eq!(both[1].0.get("wslnetd"), Some("lan"));
    let Declared::Unreadable { reason } = &both[0].1 else {
        panic!("{:?}", both[0]);
    };
    assert!(reason.contains("takes too long"), "{reason}");
    assert!(reason.contains("(python3"), "{reason}");
}

#[test]
fn a_user_who_lets_us_wait_everywhere_harms_only_himself() {
    const NOBODY: u32 = 65_534;
    // At the first that cannot be made, no more are tried.
    let blockers = (0..declarations::LIMITS.per_user).map(|_| Speaker::blocker(NOBODY));
    let Some(blockers) = blockers.collect::<Option<Vec<_>>>() else {
        return;
    };
    let mut eyes = Eyes::impatient();
    let start = Instant::now();
    let all: Vec<&Speaker> = blockers.iter().collect();
    eyes.see(&all, start);
    let his = Speaker::start(SPEAKER, |command| command.env("WSLNETD", "lan").uid(NOBODY));
    let anothers = Speaker::start(SPEAKER, |command| command.env("WSLNETD", "lan").uid(33));

    let all: Vec<&Speaker> = blockers.iter().chain([&his, &anothers]).collect();
    eyes.attributor = patient(eyes.attributor);
    let clock = Instant::now();
    let seen = eyes.see(&all, start + MS);
    let look_took = clock.elapsed();
    let his_then = seen[blockers.len()].1.clone();
    let overdue = eyes.see(&all, start + 3000 * MS)[blockers.len()].1.clone();

    assert_eq!(seen[blockers.len() + 1].0.get("wslnetd"), Some("lan"));
    assert_eq!(his_then, Declared::Pending);
    // Nobody waits for one who has let us wait.
    assert!(look_took < Duration::from_secs(15), "{look_took:?}");
    assert!(matches!(overdue, Declared::Unreadable { .. }), "{overdue:?}");
    // It heals when the others are gone.
    drop(blockers);
    let healed = eyes.wait_for_answer(&his, start + 4000 * MS);
    assert_eq!(healed.get("wslnetd"), Some("lan"));
}

#[test]
fn programs_that_come_go_and_change_while_they_are_read_hide_nobody() {
    let restless = Speaker::start(
        r#"
import os, socket

listener = socket.create_server(("127.0.0.1", 0))
os.set_inheritable(listener.fileno(), True)
os.write(1, f"{listener.getsockname()[1]}\nready\n".encode())
os.set_blocking(0, False)
while True:
    try:
        if os.read(0, 1) == b"":
            break
    except BlockingIOError:
        pass
    if os.fork() == 0:
        os.execve("/bin/true", ["true"], {"WSLNETD": "lan"})
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    os.wait()
"#,
        |command| command.env("WSLNETD", "host"),
    );
    let calm = Speaker::start(SPEAKER, |command| command.env("WSLNETD", "off"));
    let mut eyes = Eyes::new();
    let start = Instant::now();

    for round in 0..100 {
        // Each of them walks, verifies and reads.
        let seen = eyes.see(&[&restless, &calm], start + 11_000 * round * MS);

        assert!(seen[0].0.contains("wslnetd", "host"), "{}", seen[0].0);
        assert_eq!(seen[1].0.get("wslnetd"), Some("off"));
        assert_eq!(seen[1].1, Declared::Known);
    }
}

/// An attributor that looks at the listeners of some servers only.
struct Eyes {
    scanner: Scanner,
    attributor: Attributor,
}

impl Eyes {
    fn new() -> Self {
        let mut eyes = Self::impatient();
        eyes.attributor = patient(eyes.attributor);
        eyes
    }

    /// Waits no longer for words than the real one.
    fn impatient() -> Self {
        Self {
            scanner: Scanner::open(SourceChoice::Auto, UdpInterest::default()).unwrap(),
            attributor: patient_with_looks(Attributor::new().unwrap()),
        }
    }

    fn look(&mut self, speaker: &Speaker, now: Instant) -> (Labels, Declared) {
        self.see(&[speaker], now).remove(0)
    }

    fn see(&mut self, speakers: &[&Speaker], now: Instant) -> Vec<(Labels, Declared)> {
        let all = self.scanner.scan().unwrap();
        let of = |speaker: &&Speaker| {
            let found = all.iter().find(|socket| socket.address.port() == speaker.port);
            found.unwrap().clone()
        };
        let sockets: Vec<Socket> = speakers.iter().map(of).collect();
        let owners = self.attributor.attribute(&sockets, now);
        let seen = sockets.iter().zip(owners);
        seen.map(|(socket, owner)| {
            (
                labels_of(socket, owner.as_deref()),
                owner.unwrap().declared.clone(),
            )
        })
        .collect()
    }

    /// How many holders all that was looked at last has.
    fn holders(&self) -> usize {
        self.attributor
            .known
            .values()
            .map(|known| known.holders.len())
            .sum()
    }

    /// The labels as soon as all is known.
    fn wait_for_answer(&mut self, speaker: &Speaker, now: Instant) -> Labels {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (labels, declared) = self.look(speaker, now);
            if declared == Declared::Known {
                return labels;
            }
            assert!(Instant::now() < deadline, "{declared:?}");
            thread::sleep(MS);
        }
    }
}

mod speaker;
