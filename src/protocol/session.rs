//! Sessions: one run of one daemon with one companion.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::forward::is_display_text;
use crate::{ForwardStatus, Invalid};

/// Names a session: 128 random bits, 32 lowercase hex digits. It is no secret and proves nothing by itself; the
/// companion accepts it only on the connection that opened it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl FromStr for SessionId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "a session is 32 lowercase hex digits";
        let well_formed = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !well_formed {
            return Err(SHAPE);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| SHAPE)
    }
}

impl TryFrom<String> for SessionId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// How WSL connects the VM to the network, as the distro knows it from WSL. Only the modes in which Windows can be asked for
/// anything. It is a claim of the distro's: the companion holds it against where the session comes from, and it can never have
/// anything dialled that the mode [`Nat`](Self::Nat) would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The VM has an address of its own behind Windows. The session comes from that address, and the companion dials it.
    Nat,
    /// The VM has Windows' own addresses and ports. The session comes from 127.0.0.1, and nothing is dialled.
    Mirrored,
    /// Windows opens the VM's ports as its own. Since WSL 2.9 called `consomme`. The session comes from 127.0.0.1, and nothing
    /// is dialled.
    VirtioProxy,
}

impl Mode {
    /// Whether the ports of the VM are those of Windows by themselves, so that nothing is to be relayed.
    #[must_use]
    pub fn shares_ports(self) -> bool {
        match self {
            Self::Nat => false,
            Self::Mirrored | Self::VirtioProxy => true,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "nat",
            Self::Mirrored => "mirrored",
            Self::VirtioProxy => "virtioproxy",
        })
    }
}

/// The body of `POST /v1/session`. Who the distro is follows from its key, not from anything in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// [`VERSION`](crate::VERSION).
    pub protocol: u32,
    /// `/proc/sys/kernel/random/boot_id` of the VM.
    pub boot_id: String,
    /// The inode of the daemon's PID namespace. With the boot id it tells one running distro from another, so that
    /// two copies of one key (`wsl --export`, `wsl --import`) are noticed instead of throwing each other out.
    pub pid_namespace: u64,
    /// The networking mode of WSL.
    pub mode: Mode,
    /// The daemon's version.
    pub daemon: String,
}

impl OpenSession {
    /// Checks what the types cannot say. The version is not checked here: it has an answer of its own.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (name, text) in [("boot_id", &self.boot_id), ("daemon", &self.daemon)] {
            if !is_display_text(text) {
                return Err(Invalid::SessionText(name));
            }
        }
        Ok(())
    }
}

/// The answer to `POST /v1/session`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionOpened {
    /// To be sent with every further request on this connection.
    pub session: SessionId,
    /// The name under which Windows trusts this distro's key.
    pub distro: String,
    /// The companion's version.
    pub companion: String,
    /// Whence the session comes, as Windows sees it. In [`Mode::Nat`] the companion dials this address, at other ports.
    #[schema(value_type = String, example = "172.28.0.2:51234")]
    pub peer: SocketAddr,
    /// How long the companion keeps a set without a sign of life, in milliseconds.
    pub lease_ms: u64,
    /// How often to renew, in milliseconds.
    pub renew_ms: u64,
    /// How many forwards this distro may have.
    pub max_forwards: usize,
}

/// The body of `POST /v1/renew`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// The last revision that the daemon was told of; states come back only if there is a newer one.
    pub seen: u64,
}

/// The answer to `POST /v1/renew`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Renewed {
    /// The current revision.
    pub revision: u64,
    /// The states of the whole set if they changed since [`Renew::seen`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwards: Option<Vec<ForwardStatus>>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_session_survives_its_text(id: u128) {
            let json = serde_json::to_string(&SessionId(id)).unwrap();
            prop_assert_eq!(serde_json::from_str::<SessionId>(&json).unwrap(), SessionId(id));
        }
    }

    #[test]
    fn modes_have_the_names_that_wsl_gives_them() {
        for (mode, name) in [
            (Mode::Nat, "nat"),
            (Mode::Mirrored, "mirrored"),
            (Mode::VirtioProxy, "virtioproxy"),
        ] {
            assert_eq!(mode.to_string(), name);
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{name}\""));
        }
        // A mode in which there is nothing to ask Windows for is none that a session can be in.
        for other in ["\"bridged\"", "\"none\"", "\"wsl1\"", "\"\"", "null", "1"] {
            assert!(serde_json::from_str::<Mode>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn texts_of_a_session_are_checked() {
        let good = OpenSession {
            protocol: 1,
            boot_id: "b".into(),
            pid_namespace: 1,
            mode: Mode::Nat,
            daemon: "0.1.0".into(),
        };

        assert_eq!(good.validate(), Ok(()));
        assert_eq!(
            OpenSession {
                boot_id: "\n".into(),
                ..good.clone()
            }
            .validate(),
            Err(Invalid::SessionText("boot_id"))
        );
        assert_eq!(
            OpenSession {
                daemon: String::new(),
                ..good
            }
            .validate(),
            Err(Invalid::SessionText("daemon"))
        );
    }
}
