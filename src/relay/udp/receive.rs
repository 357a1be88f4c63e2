//! Receives clients' datagrams at one listening socket until told to stop, and sends each on its way. Nothing that goes
//! wrong with a client, or with the machine's resources, ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::entrance::Entrance;
use crate::forward::canonical;

use super::flow::{Flow, serve};
use super::flows::Ends;
use super::forward::{Kept, Known, UdpForward, count};
use super::listening::Listening;
use super::upstream::Upstream;
use super::{BURST, LONGEST, socket};

/// The rest after a failure that the next receive would meet again.
const REST: Duration = Duration::from_millis(100);

/// A listening socket as its task has it. Its flows have the socket too.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) listening: Arc<Listening>,
    pub(super) address: SocketAddr,
    pub(super) forward: Arc<UdpForward>,
    pub(super) entrance: Arc<Entrance>,
}

/// What became of a datagram for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// It is sent, or lost as datagrams may be.
    On,
    /// The flow's socket has failed, perhaps by what an earlier datagram met with: a fresh one may do better.
    Not,
}

impl Receiver {
    /// Receives until the entrance is cut.
    pub(super) async fn run(self) {
        let cut = self.entrance.visit().cut;
        let _stopped = cut.run_until_cancelled(self.receive_all()).await;
    }

    async fn receive_all(&self) {
        // It fails only when the lane ends.
        while self.listening.ready().await.is_ok() {
            self.receive_burst().await;
            tokio::task::yield_now().await;
        }
    }

    /// Carries what is there, but not for too long.
    async fn receive_burst(&self) {
        let mut datagram = Vec::with_capacity(LONGEST);
        for _ in 0..BURST {
            datagram.clear();
            match self.listening.receive(&mut datagram) {
                Ok((_, client)) => self.carry(client, &datagram).await,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if socket::is_about_one_client(&error) => {
                    tracing::trace!(address = %self.address, %error, "somebody who was answered is gone");
                }
                Err(error) => {
                    if self.forward.budget.warn_of_receive() {
                        tracing::warn!(address = %self.address, %error, "cannot receive datagrams; trying again");
                    } else {
                        tracing::debug!(address = %self.address, %error, "cannot receive datagrams; trying again");
                    }
                    return tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Sends one datagram on to the target, or drops it. Waits for nothing but an eviction.
    async fn carry(&self, client: SocketAddr, datagram: &[u8]) {
        let forward = &self.forward;
        if forward.budget.own().contains(client) {
            count(&forward.tally.refused_loops);
            tracing::debug!(%client, address = %self.address, "a forward leads back to itself; datagram dropped");
            return;
        }
        let ends = Ends {
            listening: self.address,
            client,
        };
        let known = forward.heard(ends);
        if let Err(reason) = forward.gate.admits(canonical(client), self.address) {
            count(&forward.tally.refused_clients);
            tracing::debug!(%client, address = %self.address, reason, "a client may not come in; datagram dropped");
            if let Some(known) = known {
                forward.end(&ends, known.serial);
            }
            return;
        }
        // The socket that failed goes before the next comes, which may find the forward full.
        let passed = known.map_or(Passed::Not, |known| self.pass_on(&known, datagram));
        if passed == Passed::Not
            && let Some(fresh) = self.open(ends).await
        {
            self.pass_on(&fresh, datagram);
        }
    }

    fn pass_on(&self, flow: &Known, datagram: &[u8]) -> Passed {
        let forward = &self.forward;
        if let Err(reason) = forward.gate.permits(flow.upstream.target()) {
            forward.bar(&flow.ends, flow.serial, &forward.tally.dial_failures, &reason);
            return Passed::On;
        }
        match flow.upstream.send(datagram) {
            Ok(sent) => {
                forward.traffic.inward.fetch_add(sent as u64, Ordering::Relaxed);
                Passed::On
            }
            Err(error) if socket::is_passing(&error) => {
                tracing::trace!(client = %flow.ends.client, address = %self.address, %error, "a datagram is lost");
                Passed::On
            }
            Err(error) => {
                forward.fail(&flow.ends, flow.serial, &error);
                Passed::Not
            }
        }
    }

    /// Takes on one client that has no flow, if it may be.
    async fn open(&self, ends: Ends) -> Option<Known> {
        let (forward, client) = (&self.forward, ends.client);
        let Some(slot) = forward.slot().await else {
            count(&forward.tally.refused_by_limit);
            forward.report_limit(client);
            return None;
        };
        count(&forward.tally.accepted);
        let (target, own) = (forward.target(), forward.budget.own());
        let (upstream, closed) = match Upstream::open(target, forward.gate.as_ref(), own, slot) {
            Ok(opened) => opened,
            Err(error) => {
                count(&forward.tally.dial_failures);
                let reason = std::error::Error::source(&error);
                tracing::debug!(%client, %target, %error, reason, "no socket to the service; datagram dropped");
                return None;
            }
        };
        let visit = self.entrance.visit();
        let cut = visit.cut.child_token();
        let known = forward.enter(
            ends,
            Kept {
                upstream,
                cut: cut.clone().drop_guard(),
                closed,
            },
        )?;
        tokio::spawn(serve(Flow {
            forward: Arc::clone(forward),
            ends,
            serial: known.serial,
            upstream: Arc::clone(&known.upstream),
            listening: Arc::clone(&self.listening),
            cut,
            _visit: visit,
        }));
        Some(known)
    }
}
