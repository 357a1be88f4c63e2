//! What to write into the configuration so that a listener which stays private is shared.

use wslnet_protocol::{ForwardId, ForwardState, Protocol};

use crate::config::term_for;
use crate::labels::Labels;
use crate::picture::{Asked, Entry, Picture};
use crate::policy::{DecidedBy, Verdict};

/// The rule that shares this listener; none where no rule would do it, or none is needed.
pub(super) fn advice(picture: &Picture, entry: &Entry) -> Option<String> {
    let change = match (&*entry.verdict, &entry.asked) {
        (Verdict::Withhold { decided_by, .. }, _) => match decided_by {
            DecidedBy::OptOut { .. } | DecidedBy::Rule { .. } => "expose = true",
            DecidedBy::Binding
                if entry.listener.socket.is_loopback()
                    && entry.listener.socket.protocol == Protocol::Tcp
                    && !picture.mode.mode.shares_ports() =>
            {
                "loopback = \"bridge\""
            }
            DecidedBy::Udp
            | DecidedBy::Default
            | DecidedBy::Itself
            | DecidedBy::Mode
            | DecidedBy::Binding
            | DecidedBy::Owner => return None,
        },
        (Verdict::Expose(_), Asked::Forward(wanted)) if !wanted.auto && !picture.mode.mode.shares_ports() => {
            let status = picture.companion.forwards.get(&ForwardId(wanted.id))?;
            if status.state != ForwardState::Conflict {
                return None;
            }
            "listen-port = \"auto\""
        }
        (Verdict::Expose(_) | Verdict::Wait { .. }, _) => return None,
    };
    Some(rule(&entry.labels, change))
}

/// A rule for the listener with these labels. Its port is named, so that nothing else is shared with it.
fn rule(labels: &Labels, change: &str) -> String {
    let first = |key: &str| labels.iter().find(|label| label.key == key);
    let who = first("container").or_else(|| first("process"));
    let terms = first("port").into_iter().chain(who).filter_map(term_for);
    let when = toml::Value::String(terms.collect::<Vec<_>>().join(","));
    format!("[[rule]]\nwhen = {when}\n{change}\n")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use wslnet_console::diagnose::Source;

    use super::*;
    use crate::config;

    #[test]
    fn the_rule_is_one_that_the_configuration_takes_whatever_the_name() {
        for name in ["node", "a,b", "*\"[x]?\\'", " x ", "\u{fffd}[2J"] {
            let labels = Labels::from_iter([("port", "5173"), ("process", name)]);

            let text = rule(&labels, "loopback = \"bridge\"");

            let source = Source {
                name: "config.toml".to_owned(),
                text: text.clone(),
            };
            let config = config::parse(vec![source]).unwrap();
            assert!(config.rules[0].when.matches(&labels), "{text}");
        }
    }
}
