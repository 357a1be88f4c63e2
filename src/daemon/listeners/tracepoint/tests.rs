//! The tracepoint of the kernel that runs the tests. They need root, as the tests of namespaces do.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::left_out::left_out;
use crate::listeners::{Bell, Wake, WakeUp, bell};

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_socket_that_listens_and_one_that_stops_are_told() {
    let Some(tracepoint) = available() else { return };

    let listener = until_told(&tracepoint, || TcpListener::bind("127.0.0.1:0").unwrap());
    until_told(&tracepoint, || drop(listener));
}

#[test]
fn the_process_that_makes_a_socket_listen_is_named_also_behind_a_storm_of_others() {
    let Some(mut tracepoint) = available() else { return };
    let me = i32::try_from(std::process::id()).unwrap();
    let listen = || drop(TcpListener::bind("127.0.0.1:0").unwrap());
    tracepoint.makers();

    let deadline = Instant::now() + DEADLINE;
    while !tracepoint.makers().contains(&me) {
        assert!(Instant::now() < deadline, "never named");
        listen();
    }
    // More than a page has room for. Other tests make storms, too, in which one may be missed.
    let deadline = Instant::now() + DEADLINE;
    let makers = loop {
        for _ in 0..1000 {
            listen();
        }
        let mut child = std::process::Command::new("python3")
            .args(["-c", "import socket; socket.create_server((\"127.0.0.1\", 0))"])
            .spawn()
            .unwrap();
        assert!(child.wait().unwrap().success());
        let makers = tracepoint.makers();
        if makers.contains(&i32::try_from(child.id()).unwrap()) {
            break makers;
        }
        assert!(Instant::now() < deadline, "{makers:?}");
    };

    assert!(makers.len() <= 64 * tracepoint.cpus(), "{}", makers.len());
    // None, but for those of other tests.
    let again = (0..100).map(|_| tracepoint.makers().len()).min();
    assert!(again < Some(8), "each is told once");
}

#[test]
fn many_events_of_one_processor_displace_none_of_another_one() {
    let storm: Vec<i32> = (100..164).collect();
    let lists = [storm.clone(), vec![7, 100, 8], vec![], vec![9]];

    let makers = in_turn(lists.into_iter());

    assert_eq!(makers[..6], [100, 7, 9, 101, 102, 8]);
    assert_eq!(makers[6..], storm[3..]);
}

#[test]
fn connections_are_not_told() {
    let Some(tracepoint) = available() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = |connections: u32| {
        let start = Instant::now();
        let mut told = 0;
        for _ in 0..connections {
            let client = TcpStream::connect(address).unwrap();
            drop(listener.accept().unwrap());
            drop(client);
            told += u32::try_from(ready(&tracepoint, PollTimeout::ZERO).len()).unwrap();
        }
        (told, start.elapsed())
    };

    // Other tests listen at the same time. That each connection is told would show all the same.
    let (told, _) = count(2000);

    assert!(told < 1000, "{told} of 2000");
}

#[test]
fn every_processor_that_runs_is_covered() {
    let Some(mut tracepoint) = available() else { return };
    let online: Vec<Key> = keys(&cpus::online().unwrap()).collect();
    let covered = |tracepoint: &Tracepoints| {
        let mut keys: Vec<Key> = tracepoint.fds().map(|(key, _)| key).collect();
        keys.sort_by_key(|(kind, cpu)| (*cpu, *kind));
        keys
    };
    assert_eq!(covered(&tracepoint), online);

    // As if this one had come later.
    tracepoint.forget(online[0]);
    assert!(tracepoint.follow_cpus().unwrap());
    assert!(!tracepoint.follow_cpus().unwrap());
    assert_eq!(covered(&tracepoint), online);

    tracepoint.forget(online[0]);
    tracepoint.ids = None;
    let refused = tracepoint.follow_cpus().unwrap_err().to_string();
    assert!(refused.contains("restart wslnetd"), "{refused}");
}

#[test]
fn one_that_died_with_its_processor_is_opened_again() {
    let Some(mut tracepoint) = available() else { return };
    assert!(!tracepoint.follow_cpus().unwrap());
    let (key, event) = tracepoint.fds().next().unwrap();
    assert_eq!(key.0, Kind::Listeners);

    // What the kernel does to it when the processor goes; it stays so.
    // SAFETY: this takes a number.
    let disabled = unsafe { perf_event_open_sys::ioctls::DISABLE(event.as_raw_fd(), 0) };
    assert_eq!(disabled, 0);

    // It has lived for a moment since the last time.
    tracepoint.follow_cpus().unwrap();
    assert!(tracepoint.follow_cpus().unwrap());
    assert!(!tracepoint.follow_cpus().unwrap());
}

#[test]
fn descriptors_do_not_survive_a_program_that_is_started() {
    let Some(tracepoint) = available() else { return };

    for (_, event) in tracepoint.fds() {
        let link = format!("/proc/self/fdinfo/{}", event.as_raw_fd());
        let flags = std::fs::read_to_string(link).unwrap();
        let flags = flags
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_ne!(flags & nix::libc::O_CLOEXEC, 0);
    }
}

#[test]
fn a_sleep_ends_with_an_event_and_not_before() {
    if available().is_none() {
        return;
    }
    let mut wake_up = WakeUp::best();
    assert!(wake_up.view().events, "{:?}", wake_up.view());
    let (ringer, bell) = bell().unwrap();
    let limit = || Some(Instant::now() + DEADLINE);
    // What other tests do at the same time.
    let opening = std::thread::spawn(|| {
        for _ in 0..20 {
            drop(TcpListener::bind("127.0.0.1:0").unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    });

    let start = Instant::now();
    let wake = wake_up.sleep(&bell, limit(), false);

    assert_eq!(wake, Wake::Due);
    assert!(start.elapsed() < DEADLINE / 2);
    opening.join().unwrap();
    drop(ringer);
    assert_eq!(wake_up.sleep(&bell, limit(), false), Wake::Stop);
}

#[test]
fn processes_are_told_once_until_somebody_wants_to_know_again() {
    if available().is_none() {
        return;
    }
    let mut wake_up = WakeUp::best();
    let (_ringer, bell) = bell().unwrap();
    let start = || std::process::Command::new("true").status().unwrap();

    for _ in 0..3 {
        start();
        assert!(until_told_of_processes(&mut wake_up, &bell));
    }
}

#[test]
fn a_process_that_came_while_nobody_wanted_to_know_is_told_to_the_next_who_does() {
    if available().is_none() {
        return;
    }
    let mut wake_up = WakeUp::best();
    let (_ringer, bell) = bell().unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
    // One event and no more: a thread that stays.
    let come = || {
        let ended = std::sync::Arc::clone(&ended);
        std::thread::spawn(move || ended.lock().unwrap().recv().unwrap_err())
    };

    let mut threads = Vec::new();
    for _ in 0..5 {
        threads.push(come());
        assert!(until_told_of_processes(&mut wake_up, &bell));
        // Whatever else there is to tell.
        while wake_up.sleep(&bell, Some(Instant::now()), true) == Wake::Processes {}
        wake_up.sleep(&bell, Some(Instant::now()), false);
    }

    drop(end);
    for thread in threads {
        assert!(thread.join().is_ok());
    }
}

#[test]
fn what_is_told_before_the_first_sleep_ends_it() {
    if available().is_none() {
        return;
    }
    for _ in 0..5 {
        let mut wake_up = WakeUp::best();
        let (_ringer, bell) = bell().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();

        let wake = wake_up.sleep(&bell, Some(start + DEADLINE), false);

        assert_eq!(wake, Wake::Due);
        assert!(start.elapsed() < DEADLINE / 2);
        drop(listener);
    }
}

#[test]
fn of_a_process_and_a_listener_at_once_both_are_told() {
    if available().is_none() {
        return;
    }
    let mut wake_up = WakeUp::best();
    let (_ringer, bell) = bell().unwrap();
    wake_up.sleep(&bell, Some(Instant::now()), true);

    for _ in 0..5 {
        assert!(std::process::Command::new("true").status().unwrap().success());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();

        let limit = Some(Instant::now() + DEADLINE);
        let wakes = [(); 2].map(|()| wake_up.sleep(&bell, limit, true));

        assert!(
            wakes.contains(&Wake::Processes) && wakes.contains(&Wake::Due),
            "{wakes:?}"
        );
        drop(listener);
    }
}

/// Sleeps until processes are told of; whether that was in time.
fn until_told_of_processes(wake_up: &mut WakeUp, bell: &Bell) -> bool {
    let deadline = Instant::now() + DEADLINE;
    loop {
        // Other tests open sockets.
        match wake_up.sleep(bell, Some(deadline), true) {
            Wake::Processes => return true,
            Wake::Due if Instant::now() < deadline => {}
            Wake::Due | Wake::Stop => return false,
        }
    }
}

/// None on kernels that have no such thing, and then it says so.
fn available() -> Option<Tracepoints> {
    match Tracepoints::open() {
        Ok(tracepoint) => Some(tracepoint),
        Err(reason) => {
            left_out(&reason.to_string());
            None
        }
    }
}

/// Does it, and waits until the kernel tells of it.
#[track_caller]
fn until_told<T>(tracepoint: &Tracepoints, action: impl FnOnce() -> T) -> T {
    while !ready(tracepoint, PollTimeout::ZERO).is_empty() {}
    let done = action();
    let told = ready(tracepoint, PollTimeout::try_from(DEADLINE).unwrap());
    assert!(!told.is_empty(), "not told within {DEADLINE:?}");
    done
}

fn ready(tracepoint: &Tracepoints, limit: PollTimeout) -> Vec<usize> {
    let fds = tracepoint.fds().filter(|((kind, _), _)| *kind == Kind::Listeners);
    let mut polled: Vec<PollFd<'_>> = fds.map(|(_, fd)| PollFd::new(fd, PollFlags::POLLIN)).collect();
    poll(&mut polled, limit).unwrap();
    let is_ready = |fd: &PollFd<'_>| fd.revents() == Some(PollFlags::POLLIN);
    let ready = polled.iter().enumerate().filter(|(_, fd)| is_ready(fd));
    ready.map(|(at, _)| at).collect()
}
