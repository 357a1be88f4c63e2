//! Users of Windows, as far as the installation tells them apart.

use std::fmt;
use std::str::FromStr;

/// The longest text of a security identifier: 15 parts of ten digits at most behind `S-1-` and six bytes of an authority
/// (<https://learn.microsoft.com/windows/win32/secauthz/sid-components>).
const LONGEST: usize = 184;

/// A user's security identifier, `S-1-5-21-…-1001`: the name of a user's own part of the registry. It has no characters that would mean
/// something on a command line or in the name of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct User(String);

/// That is no security identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user is named by a security identifier, S-1-5-…")]
pub(crate) struct NotAUser;

impl FromStr for User {
    type Err = NotAUser;

    fn from_str(text: &str) -> Result<Self, NotAUser> {
        let parts = text.strip_prefix("S-1-").ok_or(NotAUser)?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() <= LONGEST && parts.split('-').all(is_number) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAUser)
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_security_identifier_and_nothing_else() {
        let ann = "S-1-5-21-3623811015-3361044348-30300820-1013";
        assert_eq!(
            ann.parse::<User>().map(|user| user.to_string()),
            Ok(ann.to_owned())
        );
        for other in [
            "",
            "S-1-",
            "ann",
            "S-1-5-21-",
            r"S-1-5-21-1\Software",
            "S-1-5-21-1 --all",
            ".DEFAULT",
            "S-1-5-21-1_Classes",
            &format!("S-1-5-{}", "1".repeat(200)),
        ] {
            assert_eq!(other.parse::<User>(), Err(NotAUser), "{other}");
        }
    }
}
