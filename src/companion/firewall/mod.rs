//! Windows Firewall: which of its rules are ours, what they should be, and what in it stands in our way.
//!
//! All rules of ours are in the group [`GROUP`]; nothing outside of it is ever changed, and no setting of the firewall either.
//! [`Rule`], [`changes`] are pure; [`Store`] is the one door to the machine.

mod difference;
mod error;
mod hyperv;
mod look;
mod rule;
mod system;

pub use difference::{Changes, changes};
pub use error::StoreError;
pub use hyperv::{FoundHyperVRule, HyperVRule};
pub use look::{Look, Policy, Profile, Void};
pub use rule::{GROUP, Properties, Rule, Scope};
pub use system::{HyperV, Store};
