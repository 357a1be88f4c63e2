//! A relay without descriptors: it neither ends nor spins, warns once, and goes on when there are some again. Alone in
//! its program, as the limit holds for the whole process.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{Event, Level, Metadata, Subscriber, span};
use wslnet_relay::{Budget, Forwarder, Gate, Lanes, Limits};

const DEADLINE: Duration = Duration::from_secs(20);

static WARNED: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_lack_of_descriptors_is_survived() {
    tracing::subscriber::set_global_default(CountsAcceptFailures).unwrap();
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = service.local_addr().unwrap();
    std::thread::spawn(move || echo(&service));
    let lanes = Lanes::default();
    let mut forwarder = Forwarder::new(target, Arc::new(Open), Budget::new(Limits::default()), &lanes);
    let mut early = connect(forwarder.listen(bind()).unwrap());
    converse(&mut early);
    // The system completes these before anybody accepts.
    let listener = bind();
    let mut waiting = [(); 3].map(|()| connect(listener.local_addr().unwrap()));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let start = Instant::now();

    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    forwarder.listen(listener).unwrap();
    let failed_thrice = wait_for(|| FAILED.load(Ordering::Relaxed) >= 3);
    let took = start.elapsed();
    converse(&mut early);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();

    assert!(failed_thrice, "accepting was to fail again and again");
    assert!(
        took >= Duration::from_millis(150),
        "three attempts in {took:?} is spinning"
    );
    assert_eq!(WARNED.load(Ordering::Relaxed), 1, "one warning is enough");
    for client in &mut waiting {
        converse(client);
    }
    assert_eq!(forwarder.counters().accepted, 4);
}

#[derive(Debug)]
struct Open;

impl Gate for Open {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

/// Counts what the accepting tasks report.
struct CountsAcceptFailures;

impl Subscriber for CountsAcceptFailures {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "wslnet_relay::accept"
    }

    fn event(&self, event: &Event<'_>) {
        FAILED.fetch_add(1, Ordering::Relaxed);
        if *event.metadata().level() == Level::WARN {
            WARNED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}

fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn converse(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    let mut said = [0; 4];
    client.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ping");
}

fn echo(service: &TcpListener) {
    for stream in service.incoming().flatten() {
        std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
    }
}

fn wait_for(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() && start.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(5));
    }
    condition()
}
