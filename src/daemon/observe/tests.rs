//! The observer with real sockets, and with a source that fails on demand.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::sync::Mutex;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use wslnet_protocol::Protocol;

use super::*;
use crate::allocations::allocations_of;
use crate::namespace::{in_namespace, ip};

const DEADLINE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_millis(5);

#[test]
fn a_listener_appears_with_its_owner_and_goes() {
    let observer = Observer::start(SourceChoice::Auto, UdpInterest::default(), WakeUp::every(OFTEN)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();

    let seen = wait_for(&observer, |observed| find(observed, port).cloned());
    drop(listener);
    wait_for(&observer, |observed| find(observed, port).is_none().then_some(()));

    let owner = seen.owner.as_ref().unwrap();
    assert_eq!(owner.holders[0].pid, i32::try_from(std::process::id()).unwrap());
    assert_eq!(seen.labels.get("bind"), Some("loopback"));
    assert_eq!(seen.labels.get("port"), Some(port.to_string().as_str()));
}

#[test]
fn a_udp_socket_of_interest_appears_with_its_owner_and_goes() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let interest = UdpInterest {
        ports: vec![port..=port],
        servers: false,
    };
    let observer = Observer::start(SourceChoice::Auto, interest, WakeUp::every(OFTEN)).unwrap();
    let udp = |observed: &Observed| {
        let listeners = &observed.last.as_ref()?.listeners;
        let found = listeners
            .iter()
            .find(|listener| listener.socket.protocol == Protocol::Udp);
        Some(found.cloned())
    };

    let seen = wait_for(&observer, |observed| udp(observed).flatten());
    drop(server);
    wait_for(&observer, |observed| udp(observed)?.is_none().then_some(()));

    let owner = seen.owner.as_ref().unwrap();
    assert_eq!(owner.holders[0].pid, i32::try_from(std::process::id()).unwrap());
    assert_eq!(seen.labels.get("proto"), Some("udp"));
    assert_eq!(seen.labels.get("port"), Some(port.to_string().as_str()));
}

#[test]
fn another_way_to_look_forgets_nothing_that_is_known() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = listener.local_addr().unwrap().port();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = server.local_addr().unwrap().port();
    let interest = UdpInterest {
        ports: vec![udp..=udp],
        servers: false,
    };
    let observer = Observer::start(SourceChoice::Auto, UdpInterest::default(), WakeUp::every(OFTEN)).unwrap();
    let before = wait_for(&observer, |observed| find(observed, tcp).cloned());

    observer.look_by(SourceChoice::Auto, interest).unwrap();
    let at_once = observer.observed().borrow().clone();
    let after = wait_for(&observer, |observed| {
        let is_udp = |listener: &&Arc<Listener>| listener.socket.protocol == Protocol::Udp;
        let listeners = &observed.last.as_ref()?.listeners;
        listeners.iter().find(is_udp)?;
        find(observed, tcp).cloned()
    });

    assert!(find(&at_once, tcp).is_some(), "{at_once:?}");
    assert_eq!(after.since, before.since, "when it was first seen");
}

#[test]
fn another_source_is_told_though_it_shows_the_same() {
    let observer = Observer::start(
        SourceChoice::SockDiag,
        UdpInterest::default(),
        WakeUp::every(OFTEN),
    )
    .unwrap();
    wait_for(&observer, |observed| observed.last.clone());

    observer
        .look_by(SourceChoice::Procfs, UdpInterest::default())
        .unwrap();

    wait_for(&observer, |observed| {
        (observed.last.as_ref()?.source == Source::Procfs).then_some(())
    });
}

#[test]
fn nothing_is_published_while_nothing_changes_but_the_pulse_goes_on() {
    let source = Scripted::new(vec![socket(1)]);
    let observer = source.observe(WakeUp::every(OFTEN));
    let first = wait_for(&observer, |observed| observed.last.clone());
    let mut receiver = observer.observed();
    receiver.mark_unchanged();
    let pulse = observer.pulse();

    wait_for(&observer, |_| (observer.pulse() >= pulse + 20).then_some(()));

    assert!(!receiver.has_changed().unwrap());
    assert_eq!((first.scans, first.listeners.len()), (1, 1));
}

#[test]
fn a_failing_scan_keeps_the_last_list_and_says_why() {
    let source = Scripted::new(vec![socket(1)]);
    let observer = source.observe(WakeUp::every(OFTEN));
    wait_for(&observer, |observed| observed.last.clone());

    source.fail();
    let failing = wait_for(&observer, |observed| {
        observed.trouble.is_some().then(|| observed.clone())
    });
    let pulse = observer.pulse();
    wait_for(&observer, |_| (observer.pulse() > pulse).then_some(()));
    source.show(vec![socket(1), socket(2)]);
    let healed = wait_for(&observer, |observed| {
        let listeners = observed.last.as_ref()?.listeners.len();
        (observed.trouble.is_none() && listeners > 1).then(|| observed.clone())
    });

    assert_eq!(failing.last.unwrap().listeners.len(), 1);
    assert!(failing.trouble.unwrap().contains("scripted failure"));
    assert_eq!(healed.last.unwrap().listeners.len(), 2);
}

#[test]
fn failing_scans_are_repeated_with_pauses() {
    let source = Scripted::new(Vec::new());
    source.fail();
    let start = Instant::now();
    let observer = source.observe(WakeUp::every(OFTEN));

    wait_for(&observer, |_| (observer.pulse() >= 3).then_some(()));

    assert!(start.elapsed() >= PAUSES[0] + PAUSES[1]);
}

#[test]
fn before_the_first_good_scan_nothing_is_known() {
    let source = Scripted::new(Vec::new());
    source.fail();
    let observer = source.observe(WakeUp::every(OFTEN));

    let failing = wait_for(&observer, |observed| {
        observed.trouble.is_some().then(|| observed.clone())
    });
    source.show(Vec::new());
    let healed = wait_for(&observer, |observed| observed.last.clone());

    assert!(failing.last.is_none());
    assert!(healed.listeners.is_empty());
}

#[test]
fn a_long_sleep_does_not_delay_the_end() {
    let observer = Observer::start(SourceChoice::Auto, UdpInterest::default(), WakeUp::every(HOUR)).unwrap();
    let receiver = observer.observed();
    wait_for(&observer, |observed| observed.last.clone());
    let start = Instant::now();

    observer.stop();

    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(
        receiver.has_changed().is_err(),
        "the channel closes with the observer"
    );
}

#[test]
fn a_listener_is_in_no_picture_before_its_owner_is_known_and_then_at_once() {
    assert_eq!(shown_while_looked_for(81), [(None, true)]);
}

#[test]
fn a_listener_that_joins_another_ones_port_is_in_the_picture_at_once_as_somebody_unknown() {
    assert_eq!(shown_while_looked_for(80), [(None, true), (None, false)]);
}

/// Lets a socket come, at this port and beside a foreign one at port 80, whose only holder hangs when it is described: the name of the
/// process and whether that is known, of each listener, until the holder answers. Then the socket is there with its owner.
fn shown_while_looked_for(port: u16) -> Vec<(Option<String>, bool)> {
    let folder = tempfile::tempdir().unwrap();
    let process = folder.path().join("500");
    fs::create_dir_all(process.join("fd")).unwrap();
    fs::write(process.join("comm"), "slow\n").unwrap();
    let source = Scripted::new(vec![socket(1)]);
    let (mut watch, ringer) = Loop::new(source.eyes(), WakeUp::every(HOUR)).unwrap();
    watch.attributor = Attributor::with_paths(folder.path(), folder.path(), folder.path()).unwrap();
    watch.attributor.ring(watch.bell.chime());
    let mut observed = watch.sender.subscribe();
    let mut shown = || {
        let observed = observed.borrow_and_update();
        let last = observed.last.as_ref().unwrap();
        let name = |listener: &Arc<Listener>| {
            let process = listener.labels.get("process").map(str::to_owned);
            (process, listener.is_decided)
        };
        last.listeners.iter().map(name).collect::<Vec<_>>()
    };
    watch.look();
    // Whoever describes the process hangs.
    mkfifo(&process.join("stat"), Mode::S_IRWXU).unwrap();
    symlink("socket:[88]", process.join("fd/3")).unwrap();

    let mut new = socket(2);
    new.inode = 88;
    new.address.set_port(port);
    source.show(vec![socket(1), new]);
    watch.look();
    let before = shown();
    let asked = Instant::now();
    let stat = process.join("stat");
    let mut pipe = fs::OpenOptions::new().write(true).open(&stat).unwrap();
    let text = format!("500 (slow) S {}7", "0 ".repeat(18));
    fs::remove_file(&stat).unwrap();
    fs::write(&stat, &text).unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    let found = [(None, true), (Some("slow".to_owned()), true)];
    // The first ring may be that of the first look; nothing else rings.
    while shown() != found {
        watch.sleep();
        watch.look();
    }
    drop(ringer);
    // The word of its unit is waited for from now on.
    let observed = watch.sender.borrow().last.clone().unwrap();
    assert!(observed.listeners[1].since >= asked);
    before
}

#[test]
fn a_look_that_finds_nothing_new_allocates_nothing_for_any_socket() {
    let fewest = |listeners: u16| {
        let eyes = Eyes::open(SourceChoice::SockDiag, UdpInterest::default()).unwrap();
        let _listeners: Vec<TcpListener> = (0..listeners)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let (mut watch, _ringer) = Loop::new(eyes, WakeUp::every(HOUR)).unwrap();
        watch.look();
        // In some of them owners are looked at again.
        (0..100).map(|_| allocations_of(|| watch.look())).min().unwrap()
    };
    in_namespace(move || {
        ip("link set lo up");
        let (few, many) = (fewest(1), fewest(300));

        assert_eq!(few, many);
        assert!(many < 10, "{many}");
    });
}

/// A source that shows what a test tells it to; `None` is a failure.
#[derive(Clone, Debug)]
struct Scripted(Arc<Mutex<Option<Vec<Socket>>>>);

impl Scripted {
    fn new(sockets: Vec<Socket>) -> Self {
        Self(Arc::new(Mutex::new(Some(sockets))))
    }

    fn observe(&self, wake_up: WakeUp) -> Observer {
        Observer::start_with(self.eyes(), wake_up).unwrap()
    }

    fn eyes(&self) -> Eyes {
        Eyes {
            scanner: Box::new(self.clone()),
            source: Source::SockDiag,
            has_udp: false,
        }
    }

    fn show(&self, sockets: Vec<Socket>) {
        *self.0.lock().unwrap() = Some(sockets);
    }

    fn fail(&self) {
        *self.0.lock().unwrap() = None;
    }
}

impl Scan for Scripted {
    fn scan_into(&mut self, sockets: &mut Vec<Socket>) -> io::Result<()> {
        let shown = self.0.lock().map_err(|_| io::Error::other("poisoned"))?;
        let shown = shown
            .as_ref()
            .ok_or_else(|| io::Error::other("scripted failure"))?;
        sockets.clone_from(shown);
        Ok(())
    }
}

fn wait_for<T>(observer: &Observer, condition: impl Fn(&Observed) -> Option<T>) -> T {
    let receiver = observer.observed();
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition(&receiver.borrow()) {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "not within {DEADLINE:?}: {:?}",
            receiver.borrow()
        );
        thread::sleep(Duration::from_millis(2));
    }
}

fn find(observed: &Observed, port: u16) -> Option<&Listener> {
    observed
        .last
        .as_ref()?
        .listeners
        .iter()
        .map(|listener| &**listener)
        .find(|listener| listener.socket.address.port() == port)
}

fn socket(cookie: u64) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        address: "0.0.0.0:80".parse().unwrap(),
        v6only: None,
        uid: 0,
        inode: 0,
        cookie: Some(cookie),
        interface: None,
    }
}
