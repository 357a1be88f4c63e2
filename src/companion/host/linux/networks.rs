//! The categories of networks, which Linux does not know: all are private, unless a file of the state directory says otherwise.
//!
//! ```toml
//! default = "private"      # of what is not named below; or "domain", "public", "unknown"
//!
//! [interfaces]
//! eth1 = "public"
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use wslnet_link::read_state_file;

use crate::host::Category;

/// How often the file is read while nothing hints at a change.
pub(in crate::host) const CATEGORY_POLL: Duration = Duration::from_secs(60);
/// For how long it is asked again and again after an interface has changed: not at all, since a file knows everything at once.
pub(in crate::host) const CATEGORY_DELAY: Duration = Duration::ZERO;
/// The file in the state directory.
const FILE: &str = "networks.toml";
/// The longest file that is read, in bytes.
const LIMIT: usize = 1 << 20;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    #[default]
    Private,
    Domain,
    Public,
    Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    default: Told,
    interfaces: BTreeMap<String, Told>,
}

/// By the names of interfaces.
pub(in crate::host) fn categories(state_dir: &Path) -> Result<BTreeMap<String, Category>, String> {
    let content = read_state_file(state_dir, FILE, LIMIT).map_err(|error| error.to_string())?;
    let document: Document = match content {
        Some(content) => toml::from_slice(&content).map_err(|error| error.to_string())?,
        None => Document::default(),
    };
    let interfaces = super::interfaces().map_err(|error| error.to_string())?;
    let category = |name: String| {
        let told = document
            .interfaces
            .get(&name)
            .copied()
            .unwrap_or(document.default);
        let category = match told {
            Told::Private => Category::Private,
            Told::Domain => Category::Domain,
            Told::Public => Category::Public,
            Told::Unknown => return None,
        };
        Some((name, category))
    };
    Ok(interfaces
        .into_iter()
        .filter_map(|interface| category(interface.adapter))
        .collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn all_networks_are_private_until_the_file_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let lo = |text: &str| {
            wslnet_link::replace_state_file(folder.path(), FILE, text.as_bytes()).unwrap();
            categories(folder.path()).map(|all| all.get("lo").copied())
        };

        assert_eq!(categories(folder.path()).unwrap()["lo"], Category::Private);
        assert_eq!(lo("default = \"domain\""), Ok(Some(Category::Domain)));
        assert_eq!(lo("[interfaces]\nlo = \"public\""), Ok(Some(Category::Public)));
        assert_eq!(lo("default = \"unknown\""), Ok(None));
        assert!(lo("default = \"home\"").is_err());
    }
}
