//! `netsh`, asked for the excluded port ranges. See `host/excluded.rs` for why it has to be.

use std::io::{self, Read};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;
use wslnet_protocol::Protocol;

use super::directory::system_directory;
use crate::host::excluded::List;

/// It answers within a second, unless the machine is very busy or a scanner holds it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes that are read of it; a row has thirty.
const OUTPUT_LIMIT: u64 = 256 << 10;

/// What `netsh` prints of a list. Waits for it, so it is for a thread of its own.
///
/// Under Wine `netsh` says nothing.
pub(in crate::host) fn print_excluded_ranges(list: List) -> io::Result<Vec<u8>> {
    let system = system_directory()?;
    let family = if list.is_v6 { "ipv6" } else { "ipv4" };
    let protocol = match list.protocol {
        Protocol::Tcp => "protocol=tcp",
        Protocol::Udp => "protocol=udp",
    };
    let mut netsh = Command::new(system.join("netsh.exe"));
    netsh
        .args(["interface", family, "show", "excludedportrange", protocol])
        .current_dir(system)
        .creation_flags(CREATE_NO_WINDOW);
    output(netsh)
}

/// What the program prints, as far as it comes in time and is of a reasonable size.
fn output(mut program: Command) -> io::Result<Vec<u8>> {
    program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = Ended(program.spawn()?);
    let Some(stdout) = child.0.stdout.take() else {
        return Err(io::Error::other("it has no output"));
    };
    let (sender, answer) = mpsc::channel();
    // Ends when the program has ended, at the latest when it is killed below.
    thread::Builder::new().name("netsh".to_owned()).spawn(move || {
        let mut output = Vec::new();
        let read = stdout.take(OUTPUT_LIMIT).read_to_end(&mut output);
        // Nobody waits any more if it came too late.
        sender.send(read.map(|_| output)).unwrap_or_default();
    })?;
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    answer.recv_timeout(PATIENCE).map_err(late)?
}

/// A program that does not outlive this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn netsh_is_found_and_asked_for_every_list() {
        assert!(system_directory().unwrap().join("netsh.exe").exists());

        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for is_v6 in [false, true] {
                let list = List { protocol, is_v6 };
                let asked = print_excluded_ranges(list);
                assert!(asked.is_ok(), "{list:?}: {asked:?}");
            }
        }
    }

    #[test]
    fn what_a_program_prints_is_read_to_its_end() {
        let system = system_directory().unwrap();
        let mut echo = Command::new(system.join("cmd.exe"));
        echo.args(["/c", "echo 5000 5099"]);

        let output = output(echo).unwrap();

        assert_eq!(output, b"5000 5099\r\n");
    }

    #[test]
    fn of_a_program_that_says_too_much_the_beginning_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flood");
        std::fs::write(&file, "1 2 3\r\n".repeat(200_000)).unwrap();
        let mut flood = Command::new(system_directory().unwrap().join("cmd.exe"));
        flood.args(["/c", "type"]).arg(file);

        let output = output(flood).unwrap();

        assert_eq!(output.len() as u64, OUTPUT_LIMIT);
    }
}
