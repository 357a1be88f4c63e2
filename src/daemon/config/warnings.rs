//! What is allowed in a config file and yet does nothing on this machine. Not a mistake: the same file may be right on
//! another machine, or here tomorrow.

use std::path::Path;

use wslnet_console::text::clean;

use super::{Config, Key, Matcher, OptOut, Rule, Term};
use crate::labels::Users;

/// Where labels get the names of users from.
const PASSWD: &str = "/etc/passwd";
/// The longest warning, in characters.
const LIMIT: usize = 1024;

/// What a user should know about a configuration that is right as such: selectors that match nobody on this machine, so
/// that what they are meant to keep private is exposed. One line of text each, safe to print, in the order of the file.
/// Reads `/etc/passwd`.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut users = Users::new(Path::new(PASSWD));
    users.refresh();
    let mut found = about_users(config, &users);
    found.extend(about_udp(config));
    found
}

/// Programs that serve UDP also ask others over UDP, from ports that come and go.
fn about_udp(config: &Config) -> impl Iterator<Item = String> {
    let rules = config.rules.iter();
    let unnamed = rules.filter(|rule| rule.udp && rule.when.ports().is_none());
    unnamed.map(|Rule { when, place, .. }| {
        clean(
            format!(
                "{place}: `{when}` with `udp = true` names no port, so it may also share ports from which the program asks \
                 others: add the port of its service"
            ),
            LIMIT,
        )
    })
}

fn about_users(config: &Config, users: &Users) -> Vec<String> {
    let opt_outs = config.opt_out.iter();
    let opt_outs = opt_outs.map(|OptOut { selector, place, .. }| (selector, place, "keeps nothing private"));
    let rules = config.rules.iter();
    let rules = rules.map(|rule| (&rule.when, &rule.place, "changes nothing"));
    let mut found = Vec::new();
    for (selector, place, effect) in opt_outs.chain(rules) {
        let named = selector.terms().iter().find_map(user_of);
        let Some(user) = named.filter(|user| !users.is_label(user)) else {
            continue;
        };
        let why = match users.label_instead_of(user) {
            Some((uid, label)) => {
                format!(
                    "in {PASSWD} the first name of uid {uid} is `{label}`; use `user={label}` or `uid={uid}`"
                )
            }
            None => format!(
                "{PASSWD} has no user `{user}` (users of a directory, and those that systemd makes up with DynamicUser=, are \
                 never in there); use uid=N, the number of that user"
            ),
        };
        found.push(clean(
            format!("{place}: `{selector}` matches nobody and {effect}: {why}"),
            LIMIT,
        ));
    }
    found
}

/// The user whom a term asks for by name.
fn user_of(term: &Term) -> Option<&str> {
    match (&term.key, &term.matcher) {
        (Key::User, Matcher::Exact(name)) if !term.negated => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;

    use wslnet_console::diagnose::Source;

    use super::*;
    use crate::config::parse;

    #[test]
    fn a_user_that_is_not_in_passwd_is_named_with_the_place_and_the_way_out() {
        let found = warnings_of("opt-out = [\n  \"port=1\",\n  \"port=2,user=nobdoy\",\n]\n");

        assert_eq!(
            found,
            [
                "config.toml:3:3: `port=2,user=nobdoy` matches nobody and keeps nothing private: /etc/passwd has no user \
              `nobdoy` (users of a directory, and those that systemd makes up with DynamicUser=, are never in there); use \
              uid=N, the number of that user"
            ]
        );
    }

    #[test]
    fn a_second_name_of_a_user_is_no_label() {
        let found = warnings_of("opt-out = [\"user=toor\"]\n");

        assert_eq!(
            found,
            [
                "config.toml:1:12: `user=toor` matches nobody and keeps nothing private: in /etc/passwd the first name of \
              uid 0 is `root`; use `user=root` or `uid=0`"
            ]
        );
    }

    #[test]
    fn users_in_passwd_and_all_other_labels_are_no_reason_to_warn() {
        let found =
            warnings_of("opt-out = [\"user=ann\", \"user=root,port=1\", \"uid=4711\", \"process=ghost\"]\n");

        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_udp_rule_without_a_port_may_share_too_much() {
        let config = config(concat!(
            "[[rule]]\nwhen = \"process=dnsmasq\"\nudp = true\n",
            "[[rule]]\nwhen = \"port=53\"\nudp = true\n",
        ));

        let found = about_udp(&config).collect::<Vec<_>>();

        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("config.toml:2:8: `process=dnsmasq`"),
            "{found:?}"
        );
    }

    #[test]
    fn the_passwd_of_this_machine_is_asked() {
        let config = config("opt-out = [\"user=root\", \"user=no such user\"]\n");

        let found = warnings(&config);

        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`no such user`"), "{found:?}");
    }

    fn warnings_of(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        fs::write(&path, "root:x:0:0:::\ntoor:x:0:0:::\nann:x:1000:1000:::\n").unwrap();
        let mut users = Users::new(&path);
        users.refresh();
        about_users(&config(text), &users)
    }

    fn config(text: &str) -> Config {
        parse(vec![Source {
            name: "config.toml".to_owned(),
            text: text.to_owned(),
        }])
        .unwrap()
    }
}
