//! What one look at Windows Firewall finds, as data.

use std::path::Path;

use super::Properties;
use crate::host::{Category, Service};

/// All that is looked at. An ordinary user may see all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The firewall's own service, `mpssvc`.
    pub service: Service,
    /// The profiles, one for each category that could be read.
    pub profiles: Vec<Profile>,
    /// The values of the registry that make local rules void.
    pub policies: Vec<Policy>,
    /// Windows says that a change of local rules would have no effect, and why.
    pub void: Option<Void>,
    /// The rules of our group.
    pub ours: Vec<Properties>,
    /// The rules, of whatever group, that name this program's file.
    pub image: Vec<Properties>,
}

/// The profile for networks of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The category.
    pub category: Category,
    /// Whether the firewall does anything there.
    pub enabled: bool,
    /// Whether it lets nothing in, whatever the rules say ("block all incoming connections").
    pub blocks_all: bool,
}

/// A value of the registry that makes local rules void.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    /// Who has set it.
    pub origin: Origin,
    /// The registry key below `HKEY_LOCAL_MACHINE`.
    pub key: String,
    /// The value's name.
    pub value: &'static str,
    /// In networks of which category; `None` for the standard profile of old, which counts outside of a domain.
    pub category: Option<Category>,
}

/// Who has set a value, by the key in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Whoever administers the network, by group policy.
    GroupPolicy,
    /// Somebody at this machine.
    Local,
}

/// Why a change of local rules has no effect (`NET_FW_MODIFY_STATE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// Group policy overrides them.
    GroupPolicy,
    /// All inbound traffic is blocked.
    AllBlocked,
}

/// Whether this text of a rule names the file. Windows' file names know no upper and lower case.
pub fn names(application: &str, image: &Path) -> bool {
    let fold = |text: &str| text.replace('/', r"\").to_lowercase();
    let image = image.to_string_lossy();
    // A path from `canonicalize` has a prefix that rules do not have.
    let image = image.strip_prefix(r"\\?\").unwrap_or(&image);
    !application.is_empty() && fold(application) == fold(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_the_file_in_whatever_case() {
        let image = Path::new(r"C:\Program Files\wslnet\wslnet-companion.exe");

        assert!(names(r"c:\program files\WSLNET\wslnet-companion.exe", image));
        assert!(names(
            r"C:\Program Files\wslnet\wslnet-companion.exe",
            Path::new(r"\\?\C:\Program Files\wslnet\wslnet-companion.exe")
        ));
        assert!(!names("", Path::new("")));
        assert!(!names(r"C:\wslnet-companion.exe", image));
    }
}
