//! One direction of a connection.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::express::Express;
use super::held::Stuck;
use super::pace::{Pace, with_scratch};
use super::read::read_now;
use super::side::{Broken, Side, is_transient};
use crate::budget::Budget;
use crate::lanes::{Burden, Seat};

/// Bytes that a direction carries before it lets others run: reads that succeed at once never wait by themselves.
const BURST: usize = 1024 * 1024;
/// How long a direction that has nothing to carry keeps its way through the kernel from others.
const KEEP: Duration = Duration::from_secs(1);

/// What one read came to.
enum Step<'a> {
    /// So many bytes were read, and the sink has taken all of them.
    Carried(usize),
    /// So many bytes were read, and the sink does not take all of them now.
    Stuck(usize, Rest<'a>),
    /// Nothing is there to be read now.
    Empty,
    /// Nothing will ever be there again.
    End,
}

/// Why a direction stops carrying for now.
enum Pause {
    /// Nothing is there to be read now.
    Empty,
    /// It is others' turn.
    Enough,
    /// Nothing will ever be there again.
    End,
}

/// Where bytes are that the sink does not take now.
enum Rest<'a> {
    /// Here.
    Memory(Stuck<'a>),
    /// In the kernel.
    Express,
}

/// Carries what `source` says to `sink`.
pub(super) struct Direction<'a> {
    source: &'a Side<'a>,
    sink: &'a Side<'a>,
    count: &'a AtomicU64,
    budget: &'a Budget,
    seat: &'a Seat,
    burden: Option<Burden<'a>>,
    pace: Pace,
    express: Express,
}

impl<'a> Direction<'a> {
    /// What the sink takes is added to `count`.
    pub(super) fn new(
        source: &'a Side<'a>,
        sink: &'a Side<'a>,
        count: &'a AtomicU64,
        budget: &'a Budget,
        seat: &'a Seat,
    ) -> Self {
        Self {
            source,
            sink,
            count,
            budget,
            seat,
            burden: None,
            pace: Pace::default(),
            express: Express::default(),
        }
    }

    /// Reads to the end of the source, then ends the sink, unless it is the second direction: both sockets are closed then.
    pub(super) async fn carry(mut self) -> Result<(), Broken> {
        loop {
            self.more().await?;
            let pause = self.burst().await?;
            self.weigh();
            match pause {
                Pause::Empty => {}
                Pause::Enough => tokio::task::yield_now().await,
                Pause::End => break,
            }
        }
        if self.source.is_gone() {
            return Err(Broken::AtOnce);
        }
        if self.source.is_ended() {
            // The last word of both: the close says it.
            return Ok(());
        }
        self.sink.end()
    }

    /// Returns when the source has more to say.
    async fn more(&mut self) -> Result<(), Broken> {
        if self.express.is_open() {
            match tokio::time::timeout(KEEP, self.source.readable()).await {
                Ok(ready) => return ready,
                Err(_elapsed) => {
                    self.express.close();
                    self.pace = Pace::default();
                    self.weigh();
                }
            }
        }
        self.source.readable().await
    }

    /// Carries what is there, but not for too long.
    async fn burst(&mut self) -> Result<Pause, Broken> {
        let mut carried = 0;
        while carried < BURST {
            match self.step()? {
                Step::Carried(bytes) => carried += bytes,
                Step::Stuck(bytes, rest) => {
                    self.finish(rest).await?;
                    carried += bytes;
                }
                Step::Empty => return Ok(Pause::Empty),
                Step::End => return Ok(Pause::End),
            }
        }
        Ok(Pause::Enough)
    }

    /// Tells the lane whether it carries bulk data.
    fn weigh(&mut self) {
        if self.pace.is_bulk() != self.burden.is_some() {
            self.burden = self.pace.is_bulk().then(|| self.seat.burden());
        }
    }

    /// Reads once and hands on what the sink takes without waiting.
    fn step(&mut self) -> Result<Step<'a>, Broken> {
        if self.pace.is_bulk() && self.express.open(self.budget) {
            match self.express.take(self.source) {
                Ok(Some(0)) => return Ok(Step::End),
                Ok(Some(bytes)) => {
                    return Ok(if self.express.hand_on(self.sink, self.count)? {
                        Step::Carried(bytes)
                    } else {
                        Step::Stuck(bytes, Rest::Express)
                    });
                }
                // A kernel that cannot do this with these sockets says so before it takes anything.
                Ok(None) => {}
                Err(error) if is_transient(&error) => return Ok(Step::Empty),
                Err(_) => return Err(Broken::AtOnce),
            }
        }
        self.copy()
    }

    /// As [`Direction::step`], through this program's memory. Only what the sink does not take costs memory for longer.
    fn copy(&mut self) -> Result<Step<'a>, Broken> {
        with_scratch(|scratch| {
            let held = self.budget.held();
            let size = self.pace.size(held.bytes());
            let read = match read_now(self.source.stream, &mut scratch[..size]) {
                Ok(0) => return Ok(Step::End),
                Ok(read) => read,
                Err(error) if is_transient(&error) => return Ok(Step::Empty),
                Err(_) => return Err(Broken::AtOnce),
            };
            self.pace.has_read(read, size);
            let rest = self.sink.write_now(&scratch[..read], self.count)?;
            Ok(if rest.is_empty() {
                Step::Carried(read)
            } else {
                Step::Stuck(read, Rest::Memory(held.keep(rest)))
            })
        })
    }

    /// Waits until the sink has taken what it did not take at once.
    async fn finish(&mut self, rest: Rest<'a>) -> Result<(), Broken> {
        match rest {
            Rest::Memory(stuck) => {
                let mut rest = stuck.bytes();
                while !rest.is_empty() {
                    self.sink.writable().await?;
                    rest = self.sink.write_now(rest, self.count)?;
                }
            }
            Rest::Express => loop {
                self.sink.writable().await?;
                if self.express.hand_on(self.sink, self.count)? {
                    break;
                }
            },
        }
        Ok(())
    }
}
