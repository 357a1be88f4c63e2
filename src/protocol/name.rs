//! Names under which people find a forward: one label, to which Windows appends `.wsl`.

use crate::limits;

/// Labels that mean something else already: to resolvers (`localhost`), to programs that look for a proxy or a gateway
/// under a name of their own accord (`wpad`, `isatap`), and `windows`, which is Windows as distros call it.
const RESERVED: [&str; 4] = ["localhost", "wpad", "isatap", "windows"];

/// Whether a text may be the name of a forward: a label of the domain name system in lower case.
///
/// # Errors
/// Why not.
pub fn check(name: &str) -> Result<(), &'static str> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > limits::NAME_BYTES {
        return Err("it must have 1 to 63 characters");
    }
    if !name.bytes().all(is_inner) {
        return Err("it may hold a to z, 0 to 9 and - only; `.wsl` is appended by itself");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err("it must begin and end with a letter or a digit");
    }
    if RESERVED.contains(&name) {
        return Err("it is reserved");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_label_of_the_domain_name_system() {
        for good in ["a", "shop", "web-1", "0", &"a".repeat(63)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "Shop",
            "shop.wsl",
            "a_b",
            "-a",
            "a-",
            "ä",
            "a b",
            "a\n",
            "localhost",
            "wpad",
            "windows",
            &"a".repeat(64),
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
