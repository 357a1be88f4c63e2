//! `companion.toml`: what Windows allows, and where the companion listens. Each value is first read with its place in
//! the file, then checked; all that is wrong is reported at once, and nothing of a bad file counts.
//!
//! ```toml
//! reach = "lan"                                       # the ceiling: "lan" or "host"
//! ports = ["1024-65535"]                              # the ports, TCP and UDP, that forwards may take; default: all
//! exclude-interfaces = ["vEthernet (Default Switch)"] # nothing is opened there, "Loopback*" included; `*` stands for any text
//! networks = ["private", "domain"]                    # nothing is opened in networks of other categories ("public"); or "any"
//! clients = "local-subnet"                            # whom forwards serve: also "any", behind routers and VPNs
//! max-forwards = 1024                                 # for each distro, 1 to 4096
//! names = false                                       # no names in the hosts file; default: where there is the right to
//! listen = "172.20.0.1:9756"                          # default: the WSL adapter's address
//! backend = "relay"                                   # or "portproxy", with less protection: see below
//! ```
//!
//! `backend = "portproxy"` writes entries of Windows' portproxy instead of relaying. It is for those whose rules want the
//! connections to be the system's own, and wants an administrator's rights. TCP only. What the relay checks for each
//! connection nobody checks there: `clients` does not count (whom Windows Firewall lets in is served, from behind routers too),
//! the target is not looked at again before each dial, there are no limits on connections and no counters, and connections
//! that live are not cut when their forward ends. SECURITY.md says more.

mod backend;
mod policy;
mod reserved;
mod watched;

use std::net::SocketAddr;

use wslnet_console::diagnose::{Report, Source, Spanned, StringsOr, Table, nearest, parse};
use wslnet_protocol::{Reach, limits};

pub use self::backend::Backend;
pub use self::policy::{Clients, NamePattern, Policy, PortRange, Refusal};
pub use self::watched::WatchedConfig;
use crate::host::{Categories, Category};

/// A checked configuration. The default is that of an empty file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The ceiling over what distros ask for.
    pub policy: Policy,
    /// How many forwards a distro may have.
    pub max_forwards: usize,
    /// Whether forwards get names in the hosts file, if the companion has the right to write it.
    pub names: bool,
    /// Where the control port listens; `None` leaves that to the companion.
    pub listen: Option<SocketAddr>,
    /// By what forwards are applied.
    pub backend: Backend,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            max_forwards: limits::FORWARDS,
            names: true,
            listen: None,
            backend: Backend::default(),
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The report of everything that is wrong with it.
    pub fn parse(source: Source) -> Result<Self, Report> {
        parse(source, |table| Raw::read(table).resolve(table))
    }
}

/// The values as they stand in the file; a key that is missing or of the wrong type is `None`.
struct Raw {
    reach: Option<Spanned<Reach>>,
    ports: Option<Vec<Spanned<String>>>,
    exclude_interfaces: Option<Vec<Spanned<String>>>,
    networks: Option<StringsOr<Categories>>,
    clients: Option<Spanned<Clients>>,
    max_forwards: Option<Spanned<i64>>,
    names: Option<Spanned<bool>>,
    listen: Option<Spanned<SocketAddr>>,
    backend: Option<Spanned<Backend>>,
}

impl Raw {
    fn read(table: &mut Table<'_>) -> Self {
        let most = i64::try_from(limits::FORWARDS_IN_SET).unwrap_or(i64::MAX);
        Self {
            reach: table.choice("reach", &[("lan", Reach::Lan), ("host", Reach::Host)]),
            ports: table.strings("ports"),
            exclude_interfaces: table.strings("exclude-interfaces"),
            networks: table.strings_or("networks", &[("any", Categories::ALL)]),
            clients: table.choice(
                "clients",
                &[("local-subnet", Clients::LocalSubnet), ("any", Clients::Any)],
            ),
            max_forwards: table.integer("max-forwards", 1..=most),
            names: table.boolean("names"),
            listen: table.parsed(
                "listen",
                "write an address and a port, such as \"172.20.0.1:9756\"",
            ),
            backend: table.choice(
                "backend",
                &[("relay", Backend::Relay), ("portproxy", Backend::Portproxy)],
            ),
        }
    }

    fn resolve(self, table: &Table<'_>) -> Config {
        let default = Config::default();
        if let Some(listen) = &self.listen {
            check_listen(listen, table);
        }
        let limit = self
            .max_forwards
            .and_then(|number| usize::try_from(number.into_inner()).ok());
        Config {
            policy: Policy {
                reach: self.reach.map_or(default.policy.reach, Spanned::into_inner),
                ports: self
                    .ports
                    .map_or(default.policy.ports, |ports| resolve_ports(&ports, table)),
                exclude_interfaces: resolve_names(&self.exclude_interfaces.unwrap_or_default(), table),
                networks: self.networks.map_or(default.policy.networks, |networks| {
                    resolve_networks(networks, table)
                }),
                clients: self.clients.map_or(default.policy.clients, Spanned::into_inner),
            },
            max_forwards: limit.unwrap_or(default.max_forwards),
            names: self.names.map_or(default.names, Spanned::into_inner),
            listen: self.listen.map(Spanned::into_inner),
            backend: self.backend.map_or(default.backend, Spanned::into_inner),
        }
    }
}

fn resolve_ports(written: &[Spanned<String>], table: &Table<'_>) -> Vec<PortRange> {
    let range = |text: &Spanned<String>| match text.get_ref().parse() {
        Ok(range) => Some(range),
        Err(why) => {
            let message = format!("`{}` is no port or range of ports: {why}", text.get_ref());
            table.problem(
                text.span(),
                message,
                Some("write \"8000\" or \"8000-8099\"".to_owned()),
            );
            None
        }
    };
    written.iter().filter_map(range).collect()
}

fn resolve_networks(written: StringsOr<Categories>, table: &Table<'_>) -> Categories {
    let names = match written {
        StringsOr::Choice(all) => return all,
        StringsOr::Strings(names) => names,
    };
    let category = |text: &Spanned<String>| {
        let found = Category::ALL
            .into_iter()
            .find(|category| category.name() == text.get_ref());
        if found.is_none() {
            let allowed = format!("allowed: {}; or networks = \"any\"", Categories::ALL);
            let hint = match nearest(text.get_ref(), Category::ALL.map(Category::name)) {
                Some(meant) => format!("did you mean \"{meant}\"? {allowed}"),
                None => allowed,
            };
            let message = format!("`{}` is no category of networks", text.get_ref());
            table.problem(text.span(), message, Some(hint));
        }
        found
    };
    names.iter().filter_map(category).collect()
}

fn resolve_names(written: &[Spanned<String>], table: &Table<'_>) -> Vec<NamePattern> {
    for text in written.iter().filter(|text| text.get_ref().trim().is_empty()) {
        let hint = "write a name as Windows shows it, such as \"Ethernet\" or \"vEthernet*\"";
        table.problem(
            text.span(),
            "no interface has an empty name",
            Some(hint.to_owned()),
        );
    }
    written
        .iter()
        .map(|text| NamePattern::new(text.get_ref()))
        .collect()
}

fn check_listen(listen: &Spanned<SocketAddr>, table: &Table<'_>) {
    let address = listen.get_ref().ip().to_canonical();
    let hint = "name the address of one interface, such as \"172.20.0.1:9756\", or leave `listen` out";
    if address.is_unspecified() {
        let message = format!(
            "`{}` would open the control port on every network",
            listen.get_ref()
        );
        table.problem(listen.span(), message, Some(hint.to_owned()));
    } else if address.is_multicast() {
        let message = format!("`{}` is a multicast address", listen.get_ref());
        table.problem(listen.span(), message, Some(hint.to_owned()));
    } else if listen.get_ref().port() == 0 {
        let message = format!(
            "`{}` names no port, and the daemons would not find it",
            listen.get_ref()
        );
        table.problem(listen.span(), message, Some(hint.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use wslnet_protocol::Protocol;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(read(""), Ok(Config::default()));
        assert_eq!(Config::default().policy.reach, Reach::Lan);
        assert_eq!(Config::default().policy.refusal(Protocol::Tcp, 1), None);
        assert_eq!(Config::default().policy.refusal(Protocol::Udp, 1), None);
        assert_eq!(Config::default().max_forwards, limits::FORWARDS);
        assert_eq!(Config::default().backend, Backend::Relay);
    }

    #[test]
    fn every_key_counts() {
        let config = read(
            r#"
            reach = "host"
            ports = ["8000-8099", "443"]
            exclude-interfaces = ["vEthernet (Default Switch)", "*vpn*"]
            networks = ["public", "private"]
            max-forwards = 4096
            names = false
            listen = "172.20.0.1:9756"
            backend = "portproxy"
            "#,
        )
        .unwrap();

        assert_eq!(config.policy.reach, Reach::Host);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(
                [443, 8050, 8100].map(|port| config.policy.refusal(protocol, port).is_none()),
                [true, true, false]
            );
        }
        assert!(config.policy.excludes("My VPN") && !config.policy.excludes("Ethernet"));
        let networks: Vec<_> = config.policy.networks.iter().collect();
        assert_eq!(networks, [Category::Private, Category::Public]);
        assert_eq!(config.max_forwards, 4096);
        assert!(!config.names && Config::default().names);
        assert_eq!(config.listen, Some("172.20.0.1:9756".parse().unwrap()));
        assert_eq!(config.backend, Backend::Portproxy);
    }

    #[test]
    fn all_that_is_wrong_is_reported_at_once_with_its_place() {
        let report = read(concat!(
            "reach = \"wan\"\n",
            "ports = [\"80\", \"90-80\", \"http\"]\n",
            "exclude-interfaces = [\"\"]\n",
            "max-forwards = 0\n",
            "listen = \"0.0.0.0:9756\"\n",
            "max-forward = 3\n",
        ))
        .unwrap_err();

        let found: Vec<(usize, usize)> = report
            .problems()
            .iter()
            .map(|problem| {
                report
                    .place(problem)
                    .map(|place| (place.line, place.column))
                    .unwrap()
            })
            .collect();
        assert_eq!(
            found,
            [(1, 9), (2, 16), (2, 25), (3, 23), (4, 16), (5, 10), (6, 1)]
        );
        let text = report.render(false);
        for part in [
            "wan",
            "90-80",
            "ends before it begins",
            "http",
            "0.0.0.0:9756",
            "did you mean `max-forwards`",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(
            report.problems().iter().all(|problem| problem.hint.is_some()),
            "{text}"
        );
    }

    #[test]
    fn networks_are_categories_or_any() {
        let networks = |text: &str| read(&format!("networks = {text}")).map(|config| config.policy.networks);

        assert_eq!(networks("\"any\""), Ok(Categories::ALL));
        assert_eq!(networks("[\"domain\", \"private\"]"), Ok(Categories::TRUSTED));
        assert_eq!(networks("[]"), Ok(Categories::default()));
        assert_eq!(Config::default().policy.networks, Categories::TRUSTED);
        for (bad, hint) in [
            ("[\"privat\"]", "did you mean \"private\""),
            ("[\"any\"]", "networks = \"any\""),
            ("\"all\"", "allowed: \"any\""),
            ("true", "array of strings"),
        ] {
            let text = networks(bad).unwrap_err().render(false);
            assert!(text.contains(hint), "{hint} in {text}");
        }
    }

    #[test]
    fn the_control_port_needs_a_concrete_address_and_a_port() {
        for bad in [
            "0.0.0.0:1",
            "[::]:1",
            "[::ffff:0.0.0.0]:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "10.0.0.1:0",
            "x",
            "10.0.0.1",
        ] {
            assert!(read(&format!("listen = \"{bad}\"")).is_err(), "{bad}");
        }
        for good in ["127.0.0.1:9756", "[fd00::1]:9756"] {
            assert!(read(&format!("listen = \"{good}\"")).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_limit_has_its_own_limits() {
        for (value, good) in [
            ("1", true),
            ("4096", true),
            ("4097", false),
            ("-1", false),
            ("\"9\"", false),
        ] {
            assert_eq!(read(&format!("max-forwards = {value}")).is_ok(), good, "{value}");
        }
    }

    #[test]
    fn reserved_ports_cannot_be_named_open() {
        let config = read(r#"ports = ["445", "1-65535"]"#).unwrap();

        assert!(matches!(
            config.policy.refusal(Protocol::Tcp, 445),
            Some(Refusal::Reserved(_))
        ));
    }

    fn read(text: &str) -> Result<Config, Report> {
        Config::parse(Source {
            name: "companion.toml".to_owned(),
            text: text.to_owned(),
        })
    }
}
