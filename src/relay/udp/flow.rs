//! The life of one flow: carries the service's answers to the client until nobody says anything any more.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use crate::entrance::Visit;
use crate::forward::canonical;

use super::flows::{Ends, Serial};
use super::forward::UdpForward;
use super::listening::Listening;
use super::upstream::Upstream;
use super::{BURST, LONGEST, socket};

/// A flow as its task has it. When this goes, the flow is over: the sockets are let go, and last of all its visit.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) forward: Arc<UdpForward>,
    pub(super) ends: Ends,
    pub(super) serial: Serial,
    pub(super) upstream: Arc<Upstream>,
    pub(super) listening: Arc<Listening>,
    pub(super) cut: CancellationToken,
    pub(super) _visit: Visit,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.forward.end(&self.ends, self.serial);
    }
}

/// Serves one flow to its end.
pub(super) async fn serve(flow: Flow) {
    tokio::select! {
        biased;
        () = flow.cut.cancelled() => {}
        () = flow.carry() => {}
    }
}

impl Flow {
    async fn carry(&self) {
        let patience = self.forward.budget.limits().unanswered_timeout;
        let mut idle = pin!(tokio::time::sleep(patience));
        loop {
            let carried = tokio::select! {
                biased;
                ready = self.upstream.ready() => ready.and_then(|()| self.carry_burst()),
                () = &mut idle => match self.forward.expire(&self.ends, self.serial) {
                    Some(until) => {
                        idle.as_mut().reset(until.into());
                        continue;
                    }
                    None => return,
                },
            };
            match carried {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => return,
                Err(error) => {
                    self.forward.fail(&self.ends, self.serial, &error);
                    return;
                }
            }
        }
    }

    /// Carries what is there, but not for too long. Returns whether the flow goes on.
    fn carry_burst(&self) -> io::Result<bool> {
        let mut datagram = Vec::with_capacity(LONGEST);
        for _ in 0..BURST {
            datagram.clear();
            match self.upstream.receive(&mut datagram) {
                Ok(_) if self.may_go_on() => self.answer(&datagram),
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether the flow is still there, and its client and its target are still welcome.
    fn may_go_on(&self) -> bool {
        let forward = &self.forward;
        let barred = if let Err(reason) = forward
            .gate
            .admits(canonical(self.ends.client), self.ends.listening)
        {
            Some((&forward.tally.refused_clients, reason))
        } else if let Err(reason) = forward.gate.permits(self.upstream.target()) {
            Some((&forward.tally.dial_failures, reason))
        } else {
            None
        };
        match barred {
            Some((counter, reason)) => {
                forward.bar(&self.ends, self.serial, counter, &reason);
                false
            }
            None => forward.answered(&self.ends, self.serial),
        }
    }

    /// From the very address that the client wrote to.
    fn answer(&self, datagram: &[u8]) {
        match self.listening.send(datagram, self.ends.client) {
            Ok(sent) => {
                let traffic = &self.forward.traffic;
                traffic.outward.fetch_add(sent as u64, Ordering::Relaxed);
            }
            Err(error) => {
                let (ends, passing) = (&self.ends, socket::is_passing(&error));
                tracing::trace!(client = %ends.client, listening = %ends.listening, %error, passing, "an answer is lost");
            }
        }
    }
}
