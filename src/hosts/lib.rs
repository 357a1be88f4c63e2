//! The names that both programs keep in a hosts file: the companion those of forwards in Windows' own, the daemon those of
//! Windows and of its forwards in the distro's.
//!
//! [`name`] says what may be in there, [`block`] is the text of the file (pure), [`file`](HostsFile) reads and replaces it,
//! [`keeper`] keeps it as it should be. Which names there should be, the programs decide.

pub mod block;
mod file;
pub mod keeper;
pub mod name;

pub use file::{FileError, HostsFile, Written, system_path};
pub use keeper::{Keeper, Place, Told};
pub use name::{HostName, NAMES, NameError, Names};
