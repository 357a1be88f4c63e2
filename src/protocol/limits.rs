//! Numbers that both sides hold to. Each bounds what a hostile or broken peer can cost.

use std::time::Duration;

/// The longest request body, in bytes.
pub const BODY_BYTES: usize = 1 << 20;

/// The longest answer, in bytes. More than a request may have: each forward comes back with its addresses and a reason.
pub const ANSWER_BYTES: usize = 8 << 20;

/// The longest request head (request line and headers), in bytes.
pub const HEAD_BYTES: usize = 8 << 10;

/// How many forwards a distro may have unless the companion's configuration says otherwise.
pub const FORWARDS: usize = 1024;

/// How many forwards one set may name at all; more is refused rather than trimmed.
pub const FORWARDS_IN_SET: usize = 4096;

/// The longest display text (name, label, version), in characters.
pub const TEXT_CHARS: usize = 128;

/// The longest name of a forward, in bytes: a label of the domain name system (RFC 1035, 2.3.4).
pub const NAME_BYTES: usize = 63;

/// How many display labels a forward may carry.
pub const LABELS: usize = 16;

/// How long the companion keeps a set without a sign of life. Counted on a clock that stops while the host sleeps.
pub const LEASE: Duration = Duration::from_secs(15);

/// How often the daemon renews.
pub const RENEW: Duration = Duration::from_secs(5);

/// How long a set outlives the connection of its session, so that a daemon that restarts drops nothing.
pub const GRACE: Duration = Duration::from_secs(3);
