//! What the entries say, and a plain relay for each: threads that copy.

use std::collections::BTreeMap;
use std::io::{self, copy};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use crate::service::log;

const PORTPROXY: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\PortProxy";
/// How often a listener looks whether it has to end.
const GLANCE: Duration = Duration::from_millis(10);

/// The listeners, by where they listen and connect.
#[derive(Default)]
pub(crate) struct Relays(BTreeMap<(SocketAddr, SocketAddr), Relay>);

impl Relays {
    /// Becomes what the registry says.
    pub(crate) fn follow_the_registry(&mut self) {
        let wanted = entries();
        self.0.retain(|pair, _| wanted.contains(pair));
        for (listen, connect) in wanted {
            if self.0.contains_key(&(listen, connect)) {
                continue;
            }
            match Relay::start(listen, connect) {
                Ok(relay) => drop(self.0.insert((listen, connect), relay)),
                Err(error) => log(&format!("{listen}: {error}")),
            }
        }
    }
}

/// The entries of all tables, as `reg query` prints them: each key's path, then its values, with four blanks between name,
/// type and text.
fn entries() -> Vec<(SocketAddr, SocketAddr)> {
    let Ok(output) = Command::new("reg").args(["query", PORTPROXY, "/s"]).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut any: Option<IpAddr> = None;
    let mut entries = Vec::new();
    for line in text.lines() {
        if line.starts_with("HKEY") {
            let table = line.trim().rsplit('\\').nth(1).unwrap_or_default();
            any = match table {
                "v4tov4" | "v4tov6" => Some(Ipv4Addr::UNSPECIFIED.into()),
                "v6tov4" | "v6tov6" => Some(Ipv6Addr::UNSPECIFIED.into()),
                _ => None,
            };
        } else if let (Some(any), Some((name, content))) = (any, line.trim().split_once("    REG_SZ    "))
            && let (Some(listen), Some(connect)) = (address(name, any), address(content, any))
        {
            entries.push((listen, connect));
        }
    }
    entries
}

fn address(text: &str, any: IpAddr) -> Option<SocketAddr> {
    let (ip, port) = text.trim().rsplit_once('/')?;
    let ip = if ip == "*" { any } else { ip.parse().ok()? };
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

/// One listener. The port is free when it is dropped.
struct Relay {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(listen: SocketAddr, connect: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let ends = Arc::new(AtomicBool::new(false));
        let thread = spawn({
            let ends = ends.clone();
            move || {
                while !ends.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((client, _)) => drop(spawn(move || carry(&client, connect))),
                        Err(_) => sleep(GLANCE),
                    }
                }
            }
        });
        Ok(Self {
            ends,
            thread: Some(thread),
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Copies both ways until both have ended.
fn carry(client: &TcpStream, connect: SocketAddr) {
    let Ok(server) = TcpStream::connect(connect) else {
        return;
    };
    let Ok(()) = client.set_nonblocking(false) else {
        return;
    };
    std::thread::scope(|scope| {
        for (mut from, mut to) in [(client, &server), (&server, client)] {
            scope.spawn(move || {
                let _ = copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    });
}
