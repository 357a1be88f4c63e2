//! Forwards: what a distro asks for and what Windows answers.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Invalid, limits, name};

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP, with a flow for each client: its datagrams and the answers to them.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// How far a forward goes. Ordered: `Host` is the narrower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Windows itself.
    Host,
    /// Windows and the local network.
    Lan,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Lan => "lan",
        })
    }
}

/// To what the listener is bound inside the VM. Only these two can be forwarded by dialling the VM's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bind {
    /// All addresses.
    Wildcard,
    /// The VM's own address.
    Address,
}

/// Identifies a listener for as long as it lives: the kernel's 64-bit socket cookie. A new listener on the same port has
/// a new id. Sent as 16 lowercase hex digits, because JSON numbers lose the upper bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9a-f]{16}$", example = "00000000000002a7")]
pub struct ForwardId(pub u64);

impl fmt::Display for ForwardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ForwardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ForwardId> for String {
    fn from(id: ForwardId) -> Self {
        id.to_string()
    }
}

impl FromStr for ForwardId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "an id is 16 lowercase hex digits";
        let well_formed = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !well_formed {
            return Err(SHAPE);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| SHAPE)
    }
}

impl TryFrom<String> for ForwardId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// One exposure that a distro asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The listener's id.
    pub id: ForwardId,
    /// The protocol.
    pub protocol: Protocol,
    /// The port inside the VM, not 0. The companion dials it at the session's peer address.
    pub port: u16,
    /// To what the listener is bound.
    pub bind: Bind,
    /// The wanted port on Windows, not 0.
    pub listen_port: u16,
    /// Whether another port will do where the wanted one cannot be had: it is the next that is free, and stays the same while
    /// sets ask for this wanted port. Which one it became is in [`ForwardStatus::listen`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
    /// Whether WSL's own localhost forwarding leaves Windows' 127.0.0.1 free at the wanted port: it takes there what listens on
    /// 0.0.0.0 or 127.0.0.1 inside the VM, over TCP, and nothing else. Then the companion may listen there; else it must not, as
    /// WSL tries once and never again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loopback_gap: bool,
    /// How far it should go. Windows may narrow it, never widen it.
    pub reach: Reach,
    /// A name under which people find it; see [`name::check`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A few `key=value` labels for display, such as `process=node`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// The body of `PUT /v1/forwards`: everything that the distro wants, replacing what it wanted before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardSet {
    /// The forwards, the most important first: where Windows grants fewer than were asked for, it takes them from
    /// the front.
    pub forwards: Vec<Forward>,
    /// Listeners that live on but must no longer be reached: their live connections are cut. Connections of a listener
    /// that merely went away are left to end by themselves (`nc -l` closes its listener and goes on talking).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<ForwardId>,
}

impl ForwardSet {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first rule that is broken. Nothing of such a set may be applied.
    pub fn validate(&self) -> Result<(), Invalid> {
        let count = self.forwards.len().max(self.revoked.len());
        if count > limits::FORWARDS_IN_SET {
            return Err(Invalid::TooManyForwards(count));
        }
        let mut ids = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for forward in &self.forwards {
            if !ids.insert(forward.id) {
                return Err(Invalid::DuplicateId(forward.id));
            }
            if forward.port == 0 || forward.listen_port == 0 {
                return Err(Invalid::PortZero(forward.id));
            }
            if !ports.insert((forward.protocol, forward.listen_port)) {
                return Err(Invalid::DuplicatePort(forward.protocol, forward.listen_port));
            }
            if forward.labels.len() > limits::LABELS {
                return Err(Invalid::TooManyLabels(forward.id));
            }
            if !forward.labels.iter().all(|text| is_display_text(text)) {
                return Err(Invalid::Text(forward.id));
            }
            if forward
                .name
                .as_deref()
                .is_some_and(|text| name::check(text).is_err())
            {
                return Err(Invalid::Name(forward.id));
            }
        }
        match self.revoked.iter().find(|id| ids.contains(id)) {
            Some(id) => Err(Invalid::RevokedAndWanted(*id)),
            None => Ok(()),
        }
    }
}

/// What became of a forward. Each state but `Active` comes with a reason that names the fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardState {
    /// It is applied.
    Active,
    /// It will be applied as soon as something that is under way or missing is there.
    Pending,
    /// Windows' own policy refuses it.
    Denied,
    /// Somebody else holds the port.
    Conflict,
    /// The distro has as many forwards as it may have.
    OverLimit,
    /// Somebody keeps removing it; the companion stopped putting it back.
    Contended,
}

impl ForwardState {
    /// The word that people see, which is also the one that travels.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::OverLimit => "over-limit",
            Self::Contended => "contended",
        }
    }
}

impl fmt::Display for ForwardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The state of one forward, as Windows sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForwardStatus {
    /// Which forward.
    pub id: ForwardId,
    /// What became of it.
    pub state: ForwardState,
    /// Why, and what to do; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Where Windows listens for it now; at another port than the wanted one only if the forward is `auto`.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["192.168.1.20:8000"]))]
    pub listen: Vec<SocketAddr>,
}

/// The answer to `PUT` and `GET /v1/forwards`: the whole set, as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The generation of the set; `None` before the first `PUT` of the session.
    pub generation: Option<u64>,
    /// Grows whenever a state changes; see [`Renew::seen`](crate::Renew::seen).
    pub revision: u64,
    /// One entry for each forward of the set, in its order.
    pub forwards: Vec<ForwardStatus>,
}

/// Whether a text may be shown as it is: not empty, short, no control or direction-changing characters.
pub(crate) fn is_display_text(text: &str) -> bool {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.is_empty() && text.chars().count() <= limits::TEXT_CHARS && !text.chars().any(hostile)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_set_that_keeps_every_rule_is_valid() {
        let set = ForwardSet {
            forwards: vec![forward(1, 8000), forward(2, 8001)],
            revoked: vec![ForwardId(3)],
        };

        assert_eq!(set.validate(), Ok(()));
    }

    #[test]
    fn each_broken_rule_is_named() {
        let with = |change: fn(&mut Forward)| {
            let mut set = ForwardSet {
                forwards: vec![forward(1, 8000), forward(2, 8001)],
                revoked: vec![],
            };
            change(&mut set.forwards[1]);
            set.validate()
        };
        let id = ForwardId(2);

        assert_eq!(
            with(|f| f.id = ForwardId(1)),
            Err(Invalid::DuplicateId(ForwardId(1)))
        );
        assert_eq!(
            with(|f| f.listen_port = 8000),
            Err(Invalid::DuplicatePort(Protocol::Tcp, 8000))
        );
        assert_eq!(with(|f| f.port = 0), Err(Invalid::PortZero(id)));
        assert_eq!(with(|f| f.listen_port = 0), Err(Invalid::PortZero(id)));
        assert_eq!(
            with(|f| f.name = Some("a\u{1b}[2J".into())),
            Err(Invalid::Name(id))
        );
        assert_eq!(
            with(|f| f.labels = vec!["x=\u{202e}".into()]),
            Err(Invalid::Text(id))
        );
        assert_eq!(
            with(|f| f.labels = vec!["x".repeat(limits::TEXT_CHARS + 1)]),
            Err(Invalid::Text(id))
        );
        assert_eq!(
            with(|f| f.labels = vec!["a=b".into(); limits::LABELS + 1]),
            Err(Invalid::TooManyLabels(id))
        );
    }

    #[test]
    fn a_text_may_hold_every_character_but_those_that_programs_never_show() {
        // The list to which wslnet-console holds itself, too.
        let listed: Vec<(u32, u32)> = include_str!("../console/text/hostile.txt")
            .lines()
            .filter_map(|line| line.split_once('-'))
            .map(|(first, last)| {
                let number = |hex| u32::from_str_radix(hex, 16).unwrap();
                (number(first), number(last))
            })
            .collect();

        for c in '\0'..=char::MAX {
            let hostile = listed
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&u32::from(c)));
            assert_eq!(is_display_text(&c.to_string()), !hostile, "{c:?}");
        }
    }

    #[test]
    fn a_revoked_forward_cannot_be_wanted_too() {
        let set = ForwardSet {
            forwards: vec![forward(1, 8000)],
            revoked: vec![ForwardId(1)],
        };

        assert_eq!(set.validate(), Err(Invalid::RevokedAndWanted(ForwardId(1))));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let with_target = r#"{"forwards":[{"id":"0000000000000001","protocol":"tcp","port":1,"bind":"wildcard",
            "listen_port":1,"reach":"lan","target":"10.0.0.1"}]}"#;

        let refused = serde_json::from_str::<ForwardSet>(with_target).unwrap_err();

        assert!(
            refused.to_string().contains("unknown field `target`"),
            "{refused}"
        );
    }

    #[test]
    fn a_port_may_be_wanted_once_over_each_protocol() {
        let over = |id, protocol| Forward {
            protocol,
            ..forward(id, 8000)
        };
        let both = ForwardSet {
            forwards: vec![over(1, Protocol::Tcp), over(2, Protocol::Udp)],
            revoked: vec![],
        };
        let twice = ForwardSet {
            forwards: vec![over(1, Protocol::Udp), over(2, Protocol::Udp)],
            revoked: vec![],
        };

        assert_eq!(both.validate(), Ok(()));
        assert_eq!(twice.validate(), Err(Invalid::DuplicatePort(Protocol::Udp, 8000)));
    }

    /// What goes over the wire, written out: a change of it is a new version of the protocol.
    #[test]
    fn a_forward_looks_the_same_on_every_wire() {
        let plain = r#"{"id":"0000000000000001","protocol":"tcp","port":8000,"bind":"wildcard","listen_port":8000,"reach":"lan"}"#;
        let full = r#"{"id":"00000000000002a7","protocol":"udp","port":53,"bind":"address","listen_port":5300,"auto":true,"loopback_gap":true,"reach":"host","name":"dns","labels":["process=dnsmasq"]}"#;
        let of_plain = Forward {
            labels: vec![],
            ..forward(1, 8000)
        };
        let of_full = Forward {
            id: ForwardId(0x2a7),
            protocol: Protocol::Udp,
            port: 53,
            bind: Bind::Address,
            listen_port: 5300,
            auto: true,
            loopback_gap: true,
            reach: Reach::Host,
            name: Some("dns".into()),
            labels: vec!["process=dnsmasq".into()],
        };

        for (text, forward) in [(plain, of_plain), (full, of_full)] {
            assert_eq!(serde_json::to_string(&forward).unwrap(), text);
            assert_eq!(serde_json::from_str::<Forward>(text).unwrap(), forward);
        }
    }

    #[test]
    fn reach_is_ordered_so_that_a_ceiling_is_a_minimum() {
        assert_eq!(Reach::Lan.min(Reach::Host), Reach::Host);
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text(id: u64) {
            let json = serde_json::to_string(&ForwardId(id)).unwrap();
            prop_assert_eq!(serde_json::from_str::<ForwardId>(&json).unwrap(), ForwardId(id));
        }

        #[test]
        fn nothing_else_is_an_id(text in "\\PC{0,20}") {
            if let Ok(id) = text.parse::<ForwardId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    fn forward(id: u64, port: u16) -> Forward {
        Forward {
            id: ForwardId(id),
            protocol: Protocol::Tcp,
            port,
            bind: Bind::Wildcard,
            listen_port: port,
            auto: false,
            loopback_gap: false,
            reach: Reach::Lan,
            name: None,
            labels: vec!["process=node".into()],
        }
    }
}
