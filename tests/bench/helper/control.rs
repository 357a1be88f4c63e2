//! How the bench tells a helper what to do, and hears when it was done: lines on a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

/// The bench's end.
#[derive(Debug)]
pub struct Remote(BufReader<UnixStream>);

impl Remote {
    /// Takes the call of a helper that was told of this socket.
    pub fn accept(listener: &UnixListener) -> anyhow::Result<Self> {
        let (stream, _) = listener.accept().context("the helper does not call")?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(BufReader::new(stream)))
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
