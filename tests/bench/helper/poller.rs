//! What a program costs that looks for listeners as many scripts do: it reads /proc/net/tcp and tcp6 once a second. A good one:
//! compiled, with one buffer for ever, and nothing done but to find the ports in LISTEN.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

/// Its name among the helpers.
pub const NAME: &str = "poller";

/// Polls until it is killed.
pub fn run() -> anyhow::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let _ports = ports(&mut buffer)?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The TCP ports in LISTEN of the thread's network.
pub fn ports(buffer: &mut Vec<u8>) -> std::io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        buffer.clear();
        File::open(file)?.read_to_end(buffer)?;
        ports.extend(buffer.split(|byte| *byte == b'\n').skip(1).filter_map(listening));
    }
    Ok(ports)
}

/// `sl local:port remote:port 0A …`, in hexadecimal.
fn listening(line: &[u8]) -> Option<u16> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let local = words.nth(1)?;
    if words.nth(1)? != b"0A" {
        return None;
    }
    let port = local.rsplit(|byte| *byte == b':').next()?;
    u16::from_str_radix(std::str::from_utf8(port).ok()?, 16).ok()
}
