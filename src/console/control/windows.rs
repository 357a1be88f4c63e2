//! The control endpoint as a named pipe.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};

use super::Peer;

pub(super) type ServerStream = NamedPipeServer;
pub(super) type ClientStream = NamedPipeClient;

/// `ERROR_PIPE_BUSY`: every instance of the pipe has its client for the moment.
const PIPE_BUSY: i32 = 231;

/// `ERROR_ACCESS_DENIED`: what a second first instance of a pipe gets.
const ACCESS_DENIED: i32 = 5;

/// How long a client waits before it tries a busy pipe again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The pipe of the program `name`. Pipes share one flat namespace, so the run directory enters as a hash: programs
/// with different run directories do not meet.
pub(super) fn address(dir: &Path, name: &str) -> PathBuf {
    // The file system ignores case and the kind of slash; so does the name.
    let dir = dir.to_string_lossy().to_lowercase().replace('/', "\\");
    let dir = dir.trim_end_matches('\\');
    PathBuf::from(format!(r"\\.\pipe\{name}-{:016x}", fnv1a(dir.as_bytes())))
}

/// A pipe with one instance that waits for the next client.
#[derive(Debug)]
pub(super) struct Listener {
    name: PathBuf,
    waiting: NamedPipeServer,
}

impl Listener {
    pub(super) fn bind(name: &Path) -> io::Result<Self> {
        // The first instance proves that no other program holds the name.
        let waiting = ServerOptions::new()
            .first_pipe_instance(true)
            .reject_remote_clients(true)
            .create(name)
            .map_err(|error| explain(name, &error))?;
        Ok(Self {
            name: name.to_owned(),
            waiting,
        })
    }

    pub(super) async fn accept(&mut self) -> io::Result<(ServerStream, Peer)> {
        self.waiting.connect().await?;
        // The next instance exists before this one is served, so that no client finds the pipe missing.
        let next = ServerOptions::new()
            .reject_remote_clients(true)
            .create(&self.name)?;
        let connected = std::mem::replace(&mut self.waiting, next);
        // The default access list lets everybody read and only the creator, administrators and SYSTEM write, and a
        // peer without the right to write cannot send a request. Source: CreateNamedPipe, "Named Pipe Security".
        Ok((
            connected,
            Peer {
                privileged: true,
                uid: None,
            },
        ))
    }
}

/// Why there is no pipe, and what to do where something can be done.
fn explain(name: &Path, error: &io::Error) -> io::Error {
    let name = name.display();
    match error.raw_os_error() {
        // Any program can make a pipe of any name; who was first decides who else may.
        Some(ACCESS_DENIED) => io::Error::new(
            io::ErrorKind::AddrInUse,
            format!(
                "it is already running, or another program or user holds the pipe {name}: stop that one, or choose \
                 another directory by --run-dir"
            ),
        ),
        _ => io::Error::new(error.kind(), format!("cannot listen at {name}: {error}")),
    }
}

/// Connects, and waits while the pipe is busy; the caller limits the time.
pub(super) async fn connect(name: &Path) -> io::Result<ClientStream> {
    loop {
        match ClientOptions::new().open(name) {
            Err(error) if error.raw_os_error() == Some(PIPE_BUSY) => tokio::time::sleep(BUSY_PAUSE).await,
            result => return result,
        }
    }
}

/// FNV-1a, 64 bits: the same name in every build, which the hasher of the standard library does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::io;
    use std::path::Path;

    use super::{ACCESS_DENIED, Listener, address, explain};

    #[test]
    fn the_name_depends_on_the_directory_and_not_on_how_it_is_written() {
        let one = address(Path::new(r"C:\ProgramData\wslnet"), "testd");

        assert_eq!(one, address(Path::new(r"c:/programdata/wslnet/"), "testd"));
        assert_ne!(one, address(Path::new(r"C:\Temp"), "testd"));
        assert!(one.to_string_lossy().starts_with(r"\\.\pipe\testd-"));
    }

    #[tokio::test]
    async fn a_living_owner_keeps_its_pipe() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let name = address(dir.path(), "testd");

        let _living = Listener::bind(&name).expect("listening");
        let second = Listener::bind(&name).expect_err("a living owner");

        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_pipe_that_another_holds_says_what_to_do() {
        let name = Path::new(r"\\.\pipe\testd-1");

        let taken = explain(name, &io::Error::from_raw_os_error(ACCESS_DENIED));
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let text = taken.to_string();
        assert!(
            text.contains(r"another program or user holds the pipe \\.\pipe\testd-1"),
            "{text}"
        );
        assert!(text.contains("--run-dir"), "{text}");

        // ERROR_INVALID_NAME
        let other = explain(name, &io::Error::from_raw_os_error(123)).to_string();
        assert!(
            other.starts_with(r"cannot listen at \\.\pipe\testd-1: "),
            "{other}"
        );
    }
}
