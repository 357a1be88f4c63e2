//! Stands for `wsl.exe` under Wine, which has none. As the real one, it hands its arguments and its standard input to a service
//! and gives out what comes back; here the service is the test (`tests/e2e/bench/interop.rs`, or `wsl/windows.py` there for a distro
//! under systemd), at a fixed port of 127.0.0.1, which runs
//! the command in a namespace that stands for the distro. It shows that the companion finds `wsl.exe`, with which arguments it
//! runs it, and that a pairing goes through pipes of Windows. **It shows nothing of:** WSL's own words and encodings, how long it
//! takes to start a virtual machine, and who may run it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;

/// Where the test listens, in the network of its Windows.
const SERVICE: &str = "127.0.0.1:9757";

fn main() -> io::Result<ExitCode> {
    let mut service = TcpStream::connect(SERVICE)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    serde_json::to_writer(&service, &arguments)?;
    service.write_all(b"\n")?;
    io::copy(&mut io::stdin(), &mut service)?;
    service.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    service.read_to_end(&mut answer)?;
    let (code, stdout, stderr): (u8, String, String) = serde_json::from_slice(&answer)?;
    io::stdout().write_all(stdout.as_bytes())?;
    io::stderr().write_all(stderr.as_bytes())?;
    Ok(ExitCode::from(code))
}
