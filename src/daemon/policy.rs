//! The policy: what becomes of a listener, and why. Pure: it is told all it needs, and looks at nothing by itself.
//!
//! In this order, and the first that keeps a listener private is the reason:
//! 1. The first rule that matches is the listener's rule. `expose = false` keeps it private.
//! 2. An `opt-out` that matches keeps it private, unless the rule says `expose = true`.
//! 3. What the program or its container says of itself: `off` keeps it private, whatever a rule says.
//! 4. UDP is shared by a rule with `udp = true` only, and some ports by none.
//! 5. The networking mode ([`mode`]), and what the socket is bound to. Loopback takes a rule with `loopback = "bridge"`, and where
//!    Windows shares the VM's ports no rule helps it.
//!
//! How far it then goes is the rule's word, else the program's, else the default; a program can narrow what a rule
//! says, not widen it.
//!
//! A verdict is about one socket. Windows reaches a port, not a socket, so [`wanted()`] then joins the sockets of a port.

#[cfg(fuzzing)]
pub mod fuzzing;
mod mode;
mod surroundings;
mod udp;
mod verdict;
mod wanted;
mod wish;

use std::net::Ipv4Addr;

use wslnet_protocol::{Protocol, Reach};

use self::wish::Wish;
use crate::config::{Config, Facts, ListenPort, OptOut, Rule};
use crate::labels::Declared;
use crate::listeners::Socket;

pub use surroundings::Surroundings;
pub use verdict::{DecidedBy, Exposure, Verdict, Way};
pub use wanted::{Decided, Outcome, Port, Wanted, wanted};

/// Decides about listeners, as a configuration says.
#[derive(Debug, Clone)]
pub struct Policy {
    opt_out: Vec<OptOut>,
    rules: Vec<Rule>,
    reach: Reach,
}

impl Policy {
    /// The policy of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            opt_out: config.opt_out.clone(),
            rules: config.rules.clone(),
            reach: config.reach,
        }
    }

    /// Decides about one listener of this distro. `declared` is how much is known of what its program says of itself.
    #[must_use]
    pub fn decide(
        &self,
        socket: &Socket,
        facts: &impl Facts,
        declared: &Declared,
        surroundings: &Surroundings,
    ) -> Verdict {
        let rule = self.rule_of(socket, facts);
        if let Some(rule) = rule.filter(|rule| rule.expose == Some(false)) {
            return by_rule(rule);
        }
        let opted_in = rule.is_some_and(|rule| rule.expose == Some(true));
        let mut opt_out = self.opt_out.iter().filter(|_| !opted_in);
        if let Some(opted) = opt_out.find(|opted| opted.selector.matches(facts)) {
            return by_opt_out(opted);
        }
        let wish = match wish(facts, declared) {
            Ok(wish) => wish,
            Err(verdict) => return verdict,
        };
        if let Some(verdict) =
            about_udp(socket, facts, rule).or_else(|| mode::verdict(socket, rule, surroundings))
        {
            return verdict;
        }
        let way = match way(socket, rule, surroundings) {
            Ok(way) => way,
            Err(reason) => {
                return Verdict::Withhold {
                    reason,
                    decided_by: DecidedBy::Binding,
                };
            }
        };
        let wished = wish.reach.flatten();
        Verdict::Expose(Exposure {
            way,
            listen_port: rule.map_or(ListenPort::Same, |rule| rule.listen_port),
            reach: match rule.and_then(|rule| rule.reach) {
                Some(reach) => wished.map_or(reach, |wished| wished.min(reach)),
                None => wished.unwrap_or(self.reach),
            },
            name: rule.and_then(|rule| rule.name.clone()).or(wish.name),
            decided_by: rule.map_or(DecidedBy::Default, decided_by),
        })
    }

    /// The first rule that matches. Those that do not speak of UDP share TCP alone, and keep both private.
    fn rule_of(&self, socket: &Socket, facts: &impl Facts) -> Option<&Rule> {
        self.rules
            .iter()
            .filter(|rule| rule.is_about_udp() || socket.protocol == Protocol::Tcp)
            .find(|rule| rule.when.matches(facts))
    }
}

fn decided_by(rule: &Rule) -> DecidedBy {
    DecidedBy::Rule {
        place: rule.place.clone(),
        when: rule.text.clone(),
    }
}

fn by_rule(rule: &Rule) -> Verdict {
    Verdict::Withhold {
        reason: format!(
            "kept private by the rule for \"{}\" ({}:{})",
            rule.text, rule.place.name, rule.place.line
        ),
        decided_by: decided_by(rule),
    }
}

fn by_opt_out(opted: &OptOut) -> Verdict {
    Verdict::Withhold {
        reason: format!(
            "opted out by \"{}\" ({}:{})",
            opted.text, opted.place.name, opted.place.line
        ),
        decided_by: DecidedBy::OptOut {
            place: opted.place.clone(),
            selector: opted.text.clone(),
        },
    }
}

/// What the program says of itself, or the verdict that follows from it at once.
fn wish(facts: &impl Facts, declared: &Declared) -> Result<Wish, Verdict> {
    let private = |reason| Verdict::Withhold {
        reason,
        decided_by: DecidedBy::Itself,
    };
    let wish = Wish::read(facts.values("wslnetd")).map_err(private)?;
    if wish.reach == Some(None) {
        return Err(private(
            "it says WSLNETD=off itself, in its environment or as a label of its container".to_owned(),
        ));
    }
    match declared {
        Declared::Known => Ok(wish),
        Declared::Pending => Err(Verdict::Wait {
            reason: "its environment is being read, for it may say WSLNETD=off".to_owned(),
        }),
        Declared::Unreadable { reason } => Err(private(format!(
            "its environment cannot be read, and may say WSLNETD=off: {reason}"
        ))),
    }
}

fn about_udp(socket: &Socket, facts: &impl Facts, rule: Option<&Rule>) -> Option<Verdict> {
    if socket.protocol != Protocol::Udp {
        return None;
    }
    let reason = match (udp::never(socket, facts), rule) {
        (Some(never), _) => never,
        (None, None) => "UDP is shared by a rule with `udp = true` only".to_owned(),
        (None, Some(_)) => return None,
    };
    Some(Verdict::Withhold {
        reason,
        decided_by: DecidedBy::Udp,
    })
}

/// How Windows gets to the socket, or why it does not.
fn way(socket: &Socket, rule: Option<&Rule>, surroundings: &Surroundings) -> Result<Way, String> {
    if !socket.is_loopback() {
        return surroundings.bind_of(socket).map(Way::Dial);
    }
    let bridged = rule.is_some_and(|rule| rule.bridge);
    match socket.protocol {
        Protocol::Tcp | Protocol::Udp if surroundings.shares_ports() => {
            Err(loopback_reason_where_shared(socket, bridged, surroundings))
        }
        Protocol::Tcp if bridged => Ok(Way::Bridge),
        Protocol::Tcp => Err(loopback_reason(socket)),
        Protocol::Udp => Err(format!(
            "bound to {} only, and UDP is not bridged; bind to 0.0.0.0 to share it",
            socket.canonical_ip()
        )),
    }
}

fn loopback_reason(socket: &Socket) -> String {
    let address = socket.canonical_ip();
    // WSL relays these two and no other address of 127.0.0.0/8 (`localhost` process of WSL's init, GnsPortTracker).
    let relayed = matches!(address.to_string().as_str(), "127.0.0.1" | "::1");
    let windows = if relayed {
        "; Windows' own localhost forwarding of WSL still reaches it at localhost"
    } else {
        ""
    };
    format!("bound to {address} only{windows}; bind to 0.0.0.0 to share it, or bridge it by a rule")
}

/// A bridge would have to listen beside the service, at an address of Windows itself, and let the local network be its client.
fn loopback_reason_where_shared(socket: &Socket, bridged: bool, surroundings: &Surroundings) -> String {
    let (address, mode) = (socket.canonical_ip(), &surroundings.mode);
    // The others of 127.0.0.0/8 are the VM's own, and ::1 is not shared (learn.microsoft.com/windows/wsl/networking).
    let windows = if address == Ipv4Addr::LOCALHOST {
        format!("; Windows itself reaches it at {}", socket.address)
    } else {
        String::new()
    };
    let bridge = if bridged {
        format!(", for a bridge is not possible in WSL's networking mode {mode}, where nothing is relayed")
    } else {
        String::new()
    };
    format!("bound to {address} only{windows}; bind to 0.0.0.0 to share it{bridge}")
}

#[cfg(test)]
mod tests;
