//! How the bench tells a helper what to do, and hears when it was done: lines on a Unix socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::e2e::{Machine, Program, World};

/// The bench's end.
#[derive(Debug)]
pub struct Remote(BufReader<UnixStream>);

impl Remote {
    /// Starts a helper that does what it is told.
    pub fn start(world: &World, machine: &Machine, name: &str) -> anyhow::Result<(Program, Self)> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = world.new_folder(&format!("{name}-{number}")).join("socket");
        let calls = UnixListener::bind(&path)?;
        calls.set_nonblocking(true)?;
        let path = path.to_str().expect("the bench's own folders are in UTF-8");
        let mut program = super::start(machine, &[name, path]);
        let stream = loop {
            match calls.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ensure!(program.is_alive(), "the helper {name} ended: {}", program.log());
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok((program, Self(BufReader::new(stream))))
    }

    /// Has something done, and hears what the helper says of it: numbers.
    pub fn ask(&mut self, order: &str) -> anyhow::Result<Vec<u64>> {
        writeln!(self.0.get_mut(), "{order}")?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        ensure!(line.ends_with('\n'), "the helper ended while it should {order}");
        numbers.with_context(|| format!("{order}: {}", line.trim()))
    }
}

/// The helper's end: does what comes, until nothing comes any more.
pub fn obey(socket: &Path, mut act: impl FnMut(&[&str]) -> anyhow::Result<Vec<u64>>) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let orders = BufReader::new(stream.try_clone()?);
    for order in orders.lines() {
        let order = order?;
        let words: Vec<&str> = order.split(' ').collect();
        let said = match act(&words) {
            Ok(numbers) => numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => format!("{error:#}"),
        };
        writeln!(stream, "{said}")?;
    }
    Ok(())
}
