//! Doors for the fuzz targets (`tests/fuzz`) to the parsers of this room, as they are.

use std::io::Read;
use std::path::Path;

pub use super::processes::fuzzing::{cgroup, socket_inode, stat};

use super::names::{Names, Subordinates};
use super::{distro, environ};

/// The longest value of a variable that is taken, in bytes.
pub const VALUE_LIMIT: usize = environ::VALUE_LIMIT;

/// The names of users, and who answers for whom.
#[derive(Debug)]
pub struct Accounts {
    users: Names,
    lent: Subordinates,
}

impl Accounts {
    /// Reads files of the form of `/etc/passwd` and `/etc/subuid`.
    pub fn read(passwd: &Path, subuid: &Path) -> Self {
        let mut users = Names::new(passwd);
        users.refresh();
        let mut lent = Subordinates::new(subuid);
        lent.refresh(&users);
        Self { users, lent }
    }

    /// The name of this user.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.users.name(uid)
    }

    /// For a further name of a user: the number, and the name that is the label.
    pub fn label_instead_of(&self, name: &str) -> Option<(u32, &str)> {
        self.users.label_instead_of(name)
    }

    /// The user who answers for a process of this user.
    pub fn responsible(&self, uid: u32) -> u32 {
        self.lent.responsible(uid)
    }
}

/// Looks for a variable in an environment.
///
/// # Errors
/// Why it cannot be told.
pub fn variable(environ: impl Read, name: &str) -> Result<Option<Vec<u8>>, String> {
    environ::find(environ, name).map_err(|error| error.to_string())
}

/// The distro whose root this is in Windows.
pub fn distro(path: &str) -> Option<&str> {
    distro::name_in(path)
}
