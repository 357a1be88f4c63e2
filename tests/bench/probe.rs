//! Whether many ports are reachable: asked of each, from the local network, and answered by the service itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::ensure;

use crate::clock;
use crate::e2e::{NetNs, WINDOWS};
use crate::helper::service::{ANSWER, REQUEST};

/// How long all of them may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// An answer that takes longer is asked for again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Waits until `count` ports from `first` on are reachable at Windows, and tells when the last one was. Looks at the highest
/// one until it is, then at all: those that are reachable at the first try were so by then.
pub fn all_reachable(client: &NetNs, first: u16, count: u16) -> anyhow::Result<u64> {
    client.enter(|| {
        let start = clock::now();
        let mut last = until(first + count - 1, start)?;
        for port in first..first + count {
            if !answers(port) {
                last = until(port, start)?;
            }
        }
        Ok(last)
    })
}

/// Whether a port of Windows refuses.
pub fn refuses(client: &NetNs, port: u16) -> bool {
    let refused = client.enter(|| TcpStream::connect(address(port)));
    refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn until(port: u16, start: u64) -> anyhow::Result<u64> {
    while !answers(port) {
        let waited = Duration::from_nanos(clock::now() - start);
        ensure!(
            waited < DEADLINE,
            "port {port} is not reachable after {DEADLINE:?}"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(clock::now())
}

fn answers(port: u16) -> bool {
    let mut request = [0; REQUEST];
    request[0] = ANSWER;
    request[6..].copy_from_slice(&port.to_le_bytes());
    let mut answer = Vec::new();
    let asked = TcpStream::connect_timeout(&address(port), PATIENCE).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&request)?;
        stream.read_to_end(&mut answer)
    });
    asked.is_ok() && answer == [request, request].concat()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::new(WINDOWS.parse().expect("an address"), port)
}
