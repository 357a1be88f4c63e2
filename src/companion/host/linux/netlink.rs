//! NETLINK_ROUTE, as much of it as this side needs: whole dumps, and notifications that something changed.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel builds dumps in pieces of at most 32 KiB (rtnetlink sizes them by the largest read it has seen).
const PIECE: usize = 64 << 10;

/// How often a dump is begun again because the machine changed while it was read.
const ATTEMPTS: usize = 5;

/// How often to look at the addresses although no change was told of. The kernel tells of every one, also that it had to leave
/// some out.
pub(in crate::host) const POLL: Duration = Duration::from_secs(30);

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Asks the kernel for a whole table, and asks again when the kernel says that it changed meanwhile.
pub(super) fn dump(request: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    for _ in 0..ATTEMPTS {
        if let Some(rows) = try_dump(request.clone())? {
            return Ok(rows);
        }
    }
    Err(io::Error::other(
        "the network configuration does not come to rest",
    ))
}

/// One dump; `None` when it is inconsistent (`NLM_F_DUMP_INTR`).
fn try_dump(request: RouteNetlinkMessage) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(request));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut rows = Vec::new();
    let mut consistent = true;
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        socket.recv(&mut piece, 0)?;
        let mut rest = piece.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            let length = message.length() as usize;
            consistent &= message.flags() & NLM_F_DUMP_INTR == 0;
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&rest[..length]).map(|m| m.payload) {
                Ok(NetlinkPayload::InnerMessage(row)) => rows.push(row),
                Ok(NetlinkPayload::Done(_)) => return Ok(consistent.then_some(rows)),
                Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
                Ok(_) => {}
                // One odd interface must not hide all others.
                Err(error) => tracing::debug!(%error, "a netlink message is not understood"),
            }
            // Messages start at multiples of four bytes.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// A subscription to changes of links and addresses.
#[derive(Debug)]
pub(in crate::host) struct AddressHints {
    socket: AsyncFd<Socket>,
}

impl AddressHints {
    /// Subscribes, in the network namespace of the calling thread.
    pub(in crate::host) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        // SAFETY: a netlink Socket owns its descriptor, never exchanges it, and closes it only when it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket })
    }

    /// Returns after the next change; all that has queued up counts as one. Cancel-safe.
    pub(in crate::host) async fn next(&mut self) {
        loop {
            let Ok(mut ready) = self.socket.readable().await else {
                // The runtime is going away.
                return std::future::pending().await;
            };
            let mut seen = false;
            loop {
                // Only that there was a message counts, so a short buffer will do. An overflow (ENOBUFS) is a hint, too.
                match ready.try_io(|socket| socket.get_ref().recv(&mut [0; 16].as_mut_slice(), 0)) {
                    Err(_would_block) => break,
                    Ok(Ok(_)) => seen = true,
                    Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => seen = true,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "no more netlink notifications: polling only");
                        return std::future::pending().await;
                    }
                }
            }
            if seen {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::host::linux::namespace::{in_namespace, ip};

    /// Whether it ends before the deadline.
    async fn within(limit: Duration, future: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(limit, future).await.is_ok()
    }

    #[test]
    fn each_kind_of_change_gives_a_hint_and_then_silence() {
        in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut hints = AddressHints::new().unwrap();
                let (long, short) = (Duration::from_secs(10), Duration::from_millis(100));
                for change in [
                    "link set lo up",
                    "address add 192.0.2.1/24 dev lo",
                    "address add 2001:db8::1/64 dev lo nodad",
                    "address del 192.0.2.1/24 dev lo",
                    "link set lo down",
                ] {
                    ip(change);
                    assert!(within(long, hints.next()).await, "no hint of {change}");
                    // The kernel may tell of one change in several messages, some of them later.
                    while within(short, hints.next()).await {}
                }
            });
        });
    }
}
