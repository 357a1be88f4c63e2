//! Opens and closes listeners on demand, and tells the moment. Whoever connects and says a byte gets [`GREETING`], so that it
//! is known that it was this one who answered.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use socket2::{Domain, SockAddr, Socket, Type};

use super::control;
use crate::clock;

/// Its name among the helpers.
pub const NAME: &str = "listener";

/// What a client hears.
pub const GREETING: [u8; 8] = *b"hello 07";

/// Obeys until the bench goes. `open PORT` answers when listen() was called and when it had returned, `close PORT` the same
/// of close(), in nanoseconds of [`clock::now`].
pub fn run(socket: &Path) -> anyhow::Result<()> {
    let mut open: BTreeMap<u16, Greeter> = BTreeMap::new();
    control::obey(socket, |order| match order {
        ["open", port] => {
            let port = port.parse()?;
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))?;
            let before = clock::now();
            socket.listen(128)?;
            let after = clock::now();
            open.insert(port, Greeter::new(socket)?);
            Ok(vec![before, after])
        }
        ["close", port] => {
            let greeter = open.remove(&port.parse()?).context("it is not open")?;
            greeter.close()
        }
        other => anyhow::bail!("what is {other:?}?"),
    })
}

/// A thread that greets. The listener is non-blocking and looked at whenever poll(2) says so, so that it can be closed by
/// the thread that has it: a socket on which somebody waits in accept(2) would live on.
#[derive(Debug)]
struct Greeter {
    stop: Sender<()>,
    closed: Receiver<Vec<u64>>,
    wake: std::io::PipeWriter,
}

impl Greeter {
    fn new(listener: Socket) -> anyhow::Result<Self> {
        listener.set_nonblocking(true)?;
        let (stop, stopped) = channel();
        let (told, closed) = channel();
        let (wake_end, wake) = std::io::pipe()?;
        std::thread::spawn(move || {
            while stopped.try_recv().is_err() {
                wait_for(&listener, &wake_end);
                while let Ok((client, _)) = listener.accept() {
                    // A client that has gone does not matter.
                    drop(greet(&client));
                }
            }
            let before = clock::now();
            drop(listener);
            drop(told.send(vec![before, clock::now()]));
        });
        Ok(Self { stop, closed, wake })
    }

    fn close(mut self) -> anyhow::Result<Vec<u64>> {
        self.stop.send(()).context("the greeter has ended")?;
        self.wake.write_all(&[0])?;
        self.closed.recv().context("the greeter has ended")
    }
}

/// The client speaks first: pasta of 2023 was seen not to bring what a service says before its client does.
fn greet(mut client: &Socket) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_millis(500)))?;
    client.read_exact(&mut [0])?;
    client.write_all(&GREETING)
}

fn wait_for(listener: &Socket, wake: &std::io::PipeReader) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut both = [
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        PollFd::new(wake.as_fd(), PollFlags::POLLIN),
    ];
    // Interrupted or not, the caller looks.
    let _woken = poll(&mut both, PollTimeout::NONE);
}
