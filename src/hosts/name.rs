//! What may be in the block: names of one label below `.wsl`, each with one address, and not many of them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wslnet_protocol::name;

/// How many names a block holds at most. A distro can be made to ask for thousands, and every look-up on the machine reads
/// the file.
pub const NAMES: usize = 64;

/// Below this all names are.
const SUFFIX: &str = ".wsl";

/// Windows, as distros call it. No forward can have this name.
const WINDOWS: &str = "windows.wsl";

/// A name that a block may hold, such as `shop.wsl`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The name of a forward.
    ///
    /// # Errors
    /// Why the label may not be one.
    pub fn of_forward(label: &str) -> Result<Self, &'static str> {
        name::check(label)?;
        Ok(Self(format!("{label}{SUFFIX}")))
    }

    /// `windows.wsl`.
    pub fn windows() -> Self {
        Self(WINDOWS.to_owned())
    }

    /// Reads a whole name back, in the only form in which it is written.
    pub fn parse(text: &str) -> Option<Self> {
        if text == WINDOWS {
            return Some(Self::windows());
        }
        Self::of_forward(text.strip_suffix(SUFFIX)?).ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl TryFrom<String> for HostName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text).ok_or(NameError::Name)
    }
}

/// The names of a block, each with its address. At most [`NAMES`], and none whose address leads nowhere, wherever they came
/// from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<HostName, IpAddr>", into = "BTreeMap<HostName, IpAddr>")]
pub struct Names(BTreeMap<HostName, IpAddr>);

/// Why a name is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The block is full.
    #[error("there are {NAMES} names already, and no more are kept")]
    Full,
    /// Nobody can be reached there by a name.
    #[error("{0} is no address to which a name can lead")]
    Address(IpAddr),
    /// It is no name of ours.
    #[error("this is no name below {SUFFIX}")]
    Name,
}

impl Names {
    /// Adds a name, or gives it another address.
    ///
    /// # Errors
    /// Why not.
    pub fn add(&mut self, name: HostName, address: IpAddr) -> Result<(), NameError> {
        let address = address.to_canonical();
        let leads_nowhere = match address {
            IpAddr::V4(ip) => ip.is_broadcast(),
            // It would need an interface beside it, which a hosts file cannot hold.
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if leads_nowhere || address.is_unspecified() || address.is_multicast() {
            return Err(NameError::Address(address));
        }
        if self.0.len() >= NAMES && !self.0.contains_key(&name) {
            return Err(NameError::Full);
        }
        self.0.insert(name, address);
        Ok(())
    }

    /// The address of a name.
    pub fn get(&self, name: &HostName) -> Option<IpAddr> {
        self.0.get(name).copied()
    }

    /// All names, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&HostName, IpAddr)> {
        self.0.iter().map(|(name, address)| (name, *address))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Names> for BTreeMap<HostName, IpAddr> {
    fn from(names: Names) -> Self {
        names.0
    }
}

impl TryFrom<BTreeMap<HostName, IpAddr>> for Names {
    type Error = NameError;

    fn try_from(map: BTreeMap<HostName, IpAddr>) -> Result<Self, NameError> {
        let mut names = Self::default();
        for (name, address) in map {
            names.add(name, address)?;
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_name_is_one_label_below_wsl_and_windows_is_not_for_forwards() {
        assert_eq!(HostName::of_forward("shop").unwrap().as_str(), "shop.wsl");
        assert!(HostName::of_forward("windows").is_err());
        assert_eq!(HostName::parse("windows.wsl"), Some(HostName::windows()));
        for bad in [
            "shop",
            "a.b.wsl",
            ".wsl",
            "Shop.wsl",
            "localhost.wsl",
            "a b.wsl",
            "shop.wsl.",
            "google.com",
        ] {
            assert_eq!(HostName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_that_leads_nowhere_is_refused_and_a_mapped_one_made_plain() {
        let mut names = Names::default();
        for bad in [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "fe80::1",
            "::ffff:0.0.0.0",
        ] {
            let added = names.add(HostName::windows(), bad.parse().unwrap());
            assert!(matches!(added, Err(NameError::Address(_))), "{bad}");
        }

        names
            .add(HostName::windows(), "::ffff:10.0.0.1".parse().unwrap())
            .unwrap();

        assert_eq!(names.get(&HostName::windows()), Some(IpAddr::from([10, 0, 0, 1])));
    }

    #[test]
    fn there_are_never_more_than_the_limit() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let mut names = Names::default();
        for number in 0..NAMES {
            names
                .add(HostName::of_forward(&format!("a{number}")).unwrap(), ip)
                .unwrap();
        }

        assert_eq!(names.add(HostName::windows(), ip), Err(NameError::Full));

        names
            .add(HostName::of_forward("a0").unwrap(), [10, 0, 0, 2].into())
            .unwrap();
        assert_eq!(names.len(), NAMES);
        let mut many = BTreeMap::from(names);
        many.insert(HostName::of_forward("one-more").unwrap(), ip);
        assert_eq!(Names::try_from(many), Err(NameError::Full));
    }
}
