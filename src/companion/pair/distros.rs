//! Which distros are meant. Pure.

use wslnet_console::text::clean;

/// The longest name that is shown, in characters.
const NAME_CHARS: usize = 80;

/// Distros of products that bring no systemd and no room for a daemon of others.
const APPLIANCES: [&str; 5] = [
    "docker-desktop",
    "docker-desktop-data",
    "rancher-desktop",
    "rancher-desktop-data",
    "podman-machine-default",
];

/// A distro of this Windows user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    /// Its name.
    pub name: String,
    /// The version of WSL that runs it: 1 or 2.
    pub version: u32,
}

/// Why it is not clear, or not possible, which distro to pair with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChoiceError {
    /// No name that the list of trusted keys can hold, or that a program can take for a name.
    #[error(
        "{0:?} cannot be paired by its name: names have 1 to 64 letters, digits, `.`, `_` and `-`, and start with a letter or a digit. \
         Trust its key under another name, by `wslnet-companion trust NAME KEY` with the output of `wslnetd key`"
    )]
    Name(String),
    /// No such distro.
    #[error("there is no distro {name:?} for this Windows user; there are: {}", if known.is_empty() { "none" } else { known })]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names, with commas.
        known: String,
    },
    /// A distro of WSL 1 has the network of Windows itself.
    #[error("{0:?} runs in WSL 1, whose ports are Windows' own; change that by `wsl --set-version {0} 2`")]
    Version1(String),
    /// There is nothing to choose from.
    #[error("this Windows user has no distro of WSL 2: install one by `wsl --install`")]
    Nothing,
    /// The system does not tell the distros.
    #[error("only Windows tells which distros there are: name them")]
    NotTold,
}

/// The distros of these names, in Windows' own spelling. Where the distros are not told, names count as they are.
pub(super) fn named(
    registered: Option<&[Registered]>,
    wanted: &[String],
) -> Result<Vec<String>, ChoiceError> {
    let mut chosen = Vec::new();
    for name in wanted {
        let name = one(registered, name)?;
        if !chosen.contains(&name) {
            chosen.push(name);
        }
    }
    Ok(chosen)
}

/// All distros that may have a daemon.
pub(super) fn all(registered: Option<&[Registered]>) -> Result<Vec<String>, ChoiceError> {
    let may_have = |distro: &&Registered| {
        let is_appliance = APPLIANCES
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&distro.name));
        distro.version != 1 && !is_appliance
    };
    let names = registered
        .ok_or(ChoiceError::NotTold)?
        .iter()
        .filter(may_have)
        .map(|distro| checked(&distro.name))
        .collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        Err(ChoiceError::Nothing)
    } else {
        Ok(names)
    }
}

fn one(registered: Option<&[Registered]>, wanted: &str) -> Result<String, ChoiceError> {
    let Some(registered) = registered else {
        return checked(wanted);
    };
    // WSL takes a name in any case.
    let found = registered
        .iter()
        .find(|distro| distro.name == wanted)
        .or_else(|| {
            registered
                .iter()
                .find(|distro| distro.name.eq_ignore_ascii_case(wanted))
        });
    let Some(found) = found else {
        let name = checked(wanted)?;
        let known = registered.iter().map(|distro| clean(&distro.name, NAME_CHARS));
        return Err(ChoiceError::Unknown {
            name,
            known: known.collect::<Vec<_>>().join(", "),
        });
    };
    let name = checked(&found.name)?;
    if found.version == 1 {
        return Err(ChoiceError::Version1(name));
    }
    Ok(name)
}

/// A name under which a key can be trusted. It also cannot be taken for an option, and means nothing to any shell.
fn checked(name: &str) -> Result<String, ChoiceError> {
    if wslnet_link::is_peer_name(name) {
        Ok(name.to_owned())
    } else {
        Err(ChoiceError::Name(clean(name, NAME_CHARS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered() -> Vec<Registered> {
        let distro = |name: &str, version| Registered {
            name: name.to_owned(),
            version,
        };
        vec![
            distro("Ubuntu", 2),
            distro("Debian", 2),
            distro("old", 1),
            distro("docker-desktop", 2),
        ]
    }

    fn choose(names: &[&str]) -> Result<Vec<String>, ChoiceError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        named(Some(&registered()), &names)
    }

    #[test]
    fn a_name_counts_in_windows_spelling_and_once() {
        assert_eq!(
            choose(&["ubuntu", "Debian", "UBUNTU"]),
            Ok(vec!["Ubuntu".into(), "Debian".into()])
        );
    }

    #[test]
    fn an_exact_name_goes_before_one_that_differs_in_case() {
        let mut list = registered();
        list.push(Registered {
            name: "ubuntu".into(),
            version: 2,
        });

        assert_eq!(named(Some(&list), &["ubuntu".into()]), Ok(vec!["ubuntu".into()]));
    }

    #[test]
    fn hostile_names_are_refused_whatever_windows_says() {
        let hostile = [
            "",
            "-u",
            "--exec",
            "a b",
            "a;b",
            "$(id)",
            "a\"b",
            "..",
            "a/b",
            "a\\b",
            "ü",
            "a\u{202e}b",
        ];
        for name in hostile {
            let list = [Registered {
                name: name.to_owned(),
                version: 2,
            }];
            for registered in [None, Some(&list[..]), Some(&[][..])] {
                let refused = named(registered, &[name.to_owned()]);
                assert!(
                    matches!(refused, Err(ChoiceError::Name(_))),
                    "{name:?}: {refused:?}"
                );
            }
            assert!(matches!(all(Some(&list)), Err(ChoiceError::Name(_))), "{name:?}");
        }
        assert_eq!(
            choose(&["\u{1b}[2J"]),
            Err(ChoiceError::Name("\u{fffd}[2J".into()))
        );
    }

    #[test]
    fn what_is_not_there_and_what_is_wsl_1_is_refused_with_the_way_out() {
        let unknown = choose(&["Arch"]).map_err(|error| error.to_string());
        assert_eq!(
            unknown,
            Err(
                "there is no distro \"Arch\" for this Windows user; there are: Ubuntu, Debian, old, docker-desktop"
                    .into()
            )
        );
        assert_eq!(choose(&["OLD"]), Err(ChoiceError::Version1("old".into())));
    }

    #[test]
    fn all_are_those_that_may_have_a_daemon() {
        assert_eq!(
            all(Some(&registered())),
            Ok(vec!["Ubuntu".into(), "Debian".into()])
        );
        assert_eq!(all(Some(&[])), Err(ChoiceError::Nothing));
        assert_eq!(all(None), Err(ChoiceError::NotTold));
    }
}
