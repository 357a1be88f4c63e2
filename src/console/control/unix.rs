//! The control endpoint as a Unix socket in the run directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};

use super::Peer;

pub(super) type ServerStream = UnixStream;
pub(super) type ClientStream = UnixStream;

/// The socket file of the program `name`.
pub(super) fn address(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.sock"))
}

/// A listening socket whose file goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Held for as long as the socket file is ours. A connection attempt could not tell a dead owner from a busy
    /// one, and two starters could each take the other's file for stale.
    _lock: Flock<File>,
}

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let explain = |what: &str, error: &io::Error| {
            io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display()))
        };
        let lock = lock(path).map_err(|error| explain("lock", &error))?;
        remove_stale(path).map_err(|error| explain("replace", &error))?;
        let socket = UnixListener::bind(path).map_err(|error| explain("listen at", &error))?;
        // Reading is for everybody; the program asks who the peer is before it changes anything.
        fs::set_permissions(path, Permissions::from_mode(0o666))
            .map_err(|error| explain("open up", &error))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) async fn accept(&mut self) -> io::Result<(ServerStream, Peer)> {
        let (stream, _) = self.socket.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((
            stream,
            Peer {
                privileged: is_privileged(uid, geteuid().as_raw()),
                uid: Some(uid),
            },
        ))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A file that stays is stale at worst, and the next start replaces it.
        let _stale = fs::remove_file(&self.path);
    }
}

pub(super) async fn connect(path: &Path) -> io::Result<ClientStream> {
    UnixStream::connect(path).await
}

fn is_privileged(uid: u32, own: u32) -> bool {
    uid == 0 || uid == own
}

fn lock(path: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.with_extension("lock"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            io::Error::new(io::ErrorKind::AddrInUse, "it is already running")
        } else {
            errno.into()
        }
    })
}

/// Removes a socket file. Whoever holds the lock knows that its owner is gone; anything but a socket is not ours.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is there and no socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt;
    use std::{fs, io};

    use super::{Listener, address, is_privileged};

    #[tokio::test]
    async fn a_living_owner_keeps_its_socket_and_a_dead_one_loses_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = address(dir.path(), "testd");
        // A bare socket that was closed leaves its file behind, as a killed process does.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());

        let living = Listener::bind(&path).expect("a stale file is replaced");
        let second = Listener::bind(&path).expect_err("a living owner");

        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(second.to_string().contains("already running"), "{second}");
        assert!(path.exists(), "the refused one left the file alone");
        drop(living);
        assert!(!path.exists(), "the file goes with its owner");
    }

    #[tokio::test]
    async fn everybody_may_connect() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = address(dir.path(), "testd");

        let _listener = Listener::bind(&path).expect("listening");

        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = address(dir.path(), "testd");
        fs::write(&path, "precious").expect("written");

        let error = Listener::bind(&path).expect_err("refused");

        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "precious");
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let error = Listener::bind("/nonexistent/run/testd.sock".as_ref()).expect_err("refused");

        assert!(
            error.to_string().contains("/nonexistent/run/testd.sock"),
            "{error}"
        );
    }

    #[test]
    fn root_and_the_own_user_are_privileged_and_nobody_else() {
        assert!(is_privileged(0, 998));
        assert!(is_privileged(998, 998));
        assert!(!is_privileged(1000, 998));
        assert!(!is_privileged(1000, 0));
    }
}
