//! The calls by which Windows is told of a rule, as data, because their order matters and the test systems take any. Pure.

use super::Properties;

/// One call: a property of `INetFwRule` that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// `put_Name`.
    Name(&'a str),
    /// `put_Description`.
    Description(&'a str),
    /// `put_Grouping`.
    Grouping(&'a str),
    /// `put_ApplicationName`.
    Application(&'a str),
    /// `put_ServiceName`.
    Service(&'a str),
    /// `put_Protocol`.
    Protocol(i32),
    /// `put_LocalPorts`.
    LocalPorts(&'a str),
    /// `put_LocalAddresses`.
    LocalAddresses(&'a str),
    /// `put_RemoteAddresses`.
    RemoteAddresses(&'a str),
    /// `put_Direction`.
    Inbound(bool),
    /// `put_Profiles`.
    Profiles(i32),
    /// `put_Action`.
    Allow(bool),
    /// `put_EdgeTraversal`.
    EdgeTraversal(bool),
    /// `put_Enabled`.
    Enabled(bool),
}

impl Properties {
    /// The calls in their order: the protocol before the ports, which Windows refuses without one. An empty program or service is
    /// left out, because an empty text is not "any" for these two.
    pub fn settings(&self) -> Vec<Setting<'_>> {
        let application = Some(Setting::Application(&self.application));
        let service = Some(Setting::Service(&self.service));
        let settings = [
            Some(Setting::Name(&self.name)),
            Some(Setting::Description(&self.description)),
            Some(Setting::Grouping(&self.grouping)),
            application.filter(|_| !self.application.is_empty()),
            service.filter(|_| !self.service.is_empty()),
            Some(Setting::Protocol(self.protocol)),
            Some(Setting::LocalPorts(&self.local_ports)),
            Some(Setting::LocalAddresses(&self.local_addresses)),
            Some(Setting::RemoteAddresses(&self.remote_addresses)),
            Some(Setting::Inbound(self.inbound)),
            Some(Setting::Profiles(self.profiles)),
            Some(Setting::Allow(self.allow)),
            Some(Setting::EdgeTraversal(self.edge_traversal)),
            Some(Setting::Enabled(self.enabled)),
        ];
        settings.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::firewall::{Installation, program_rules};
    use crate::host::Categories;

    /// The recorded expectation: what Windows would be told at an installation, call by call.
    const INSTALLATION: &str = r#"
Name("wslnet control port")
Description("Lets WSL distros reach wslnet-companion, which admits only those whose keys it trusts")
Grouping("wslnet")
Application("C:\\x.exe")
Protocol(6)
LocalPorts("9756")
LocalAddresses("*")
RemoteAddresses("LocalSubnet")
Inbound(true)
Profiles(2147483647)
Allow(true)
EdgeTraversal(false)
Enabled(true)
"#;

    #[test]
    fn windows_is_told_of_a_rule_in_these_calls() {
        let rules = program_rules(Installation {
            program: Path::new(r"C:\x.exe"),
            control_port: 9756,
            networks: Categories::TRUSTED,
        });

        let properties = rules
            .iter()
            .map(|rule| rule.properties())
            .find(|rule| rule.name.contains("control"));
        let told: Vec<String> = properties
            .iter()
            .flat_map(Properties::settings)
            .map(|setting| format!("{setting:?}\n"))
            .collect();

        assert_eq!(told.concat(), INSTALLATION.trim_start());
    }

    #[test]
    fn a_rule_for_a_service_names_no_program() {
        let rule = Properties {
            service: "iphlpsvc".to_owned(),
            ..Properties::default()
        };

        assert!(rule.settings().contains(&Setting::Service("iphlpsvc")));
        assert!(
            !rule
                .settings()
                .iter()
                .any(|setting| matches!(setting, Setting::Application(_)))
        );
    }
}
