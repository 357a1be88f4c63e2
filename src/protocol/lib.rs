//! What travels between `wslnetd` (in a distro) and `wslnet-companion` (on Windows), and nothing else: types, limits,
//! validation. There is no I/O here, no clock, no operating system.
//!
//! # Why the protocol looks like this
//!
//! **The whole set, every time.** A distro owns its forwards. It never says "add this" or "remove that"; it replaces
//! everything it wants with one `PUT /v1/forwards`. A daemon that crashed, slept or lost a message simply sends its
//! set again, and there is no edit whose loss could leave a port open.
//!
//! **Order without clocks.** Guest clocks are off by hours after a host sleep, so nothing is ordered by time. The
//! companion hands out sessions, the newest session of a key wins, and within a session a generation number grows
//! with each set. An older session or generation is refused ([`ErrorCode::StaleSession`], [`ErrorCode::StaleGeneration`]):
//! state never goes backwards.
//!
//! **A lease, because guests vanish.** A WSL VM is often stopped without a goodbye. The companion keeps a set only while
//! the daemon renews it (`POST /v1/renew`); the same call brings back what changed on the Windows side.
//!
//! **No address to dial, no path, no command.** A forward names a port of the distro and a port of Windows. The companion
//! dials the address from which the authenticated session comes, and nothing else. Every API of this kind that let the
//! guest name a target became a vulnerability.
//!
//! **The networking mode is a claim.** A distro says how WSL connects its VM ([`Mode`]), because Windows does not tell. Where
//! Windows and the VM share their ports there is nothing to dial, so a forward there only opens the port in Windows' firewall, and
//! [`Forward::listen_port`] must be [`Forward::port`]. The companion refuses a session that does not come from where its mode says
//! ([`ErrorCode::WrongMode`]): no claim can have Windows' own loopback services dialled.
//!
//! **TCP and UDP alike.** A forward says which; the same number may be wanted once over each ([`Protocol`]). A UDP forward has a
//! flow where a TCP one has a connection, and Windows itself reaches it at the VM's address only.
//!
//! **A wanted port is a wish.** Somebody else may have it. Then the forward is in [`ForwardState::Conflict`], or, if it says
//! [`Forward::auto`], listens at another port: [`ForwardStatus::listen`] has the real one, [`ForwardStatus::reason`] says why.
//! It keeps that port for as long as sets ask for the same wanted one, over restarts of the daemon too.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/session` | [`OpenSession`] | [`SessionOpened`] |
//! | `PUT /v1/forwards` | [`ForwardSet`] | [`Applied`] |
//! | `GET /v1/forwards` | – | [`Applied`] |
//! | `POST /v1/renew` | [`Renew`] | [`Renewed`] |
//! | `DELETE /v1/session` | – | 204 |
//!
//! Every failure is a [`Problem`]. All but `POST /v1/session` carry [`header::SESSION`]; `PUT` also carries
//! [`header::GENERATION`].

mod forward;
pub mod header;
pub mod limits;
pub mod name;
mod problem;
mod session;

pub use forward::{
    Applied, Bind, Forward, ForwardId, ForwardSet, ForwardState, ForwardStatus, Protocol, Reach,
};
pub use problem::{ErrorCode, Invalid, Problem};
pub use session::{Mode, OpenSession, Renew, Renewed, SessionId, SessionOpened};

/// The version of this protocol, sent as [`OpenSession::protocol`]. A companion refuses versions it does not speak
/// with [`ErrorCode::UnsupportedVersion`]. Version 2 brought [`Protocol::Udp`] and [`Forward::auto`], version 3
/// [`OpenSession::mode`]; a companion of an earlier version would refuse them as malformed.
pub const VERSION: u32 = 3;

/// The TCP port on which the companion listens unless it is told otherwise.
pub const DEFAULT_PORT: u16 = 9756;
