//! Windows Firewall: which of its rules are ours, what they should be, and what in it stands in our way.
//!
//! All rules of ours are in the group [`GROUP`]; nothing outside of it is ever changed, and no setting of the firewall either.
//! - Pure: [`Rule`], [`changes()`] (wanted against there), [`findings()`] (what stands in the way).
//! - [`Store`] is the one door to the machine; on Linux a file stands for it.
//! - [`install`] and [`remove`] are for the rules that name this program, [`PortRules`] for those of single ports at run time,
//!   [`watch_firewall`] looks at it all, slowly.

mod difference;
mod error;
mod findings;
mod hyperv;
mod look;
mod mark;
mod ports;
mod program;
mod rule;
mod setting;
mod system;
mod watch;

pub use difference::{Changes, changes};
pub use error::StoreError;
pub use findings::{Finding, Question, findings};
pub use hyperv::{FoundHyperVRule, HyperVRule, is_our_hyperv_rule};
pub use look::{Look, Origin, Policy, Profile, Void};
pub(crate) use mark::Mark;
use ports::is_port_rule;
pub use ports::{PortRules, Ports, clear_leftovers, clear_ports};
pub use program::{Installation, install, program_rules, remove};
pub use rule::{GROUP, Properties, Rule, Scope};
pub use setting::Setting;
pub use system::{HyperV, Store};
pub use watch::{FirewallWatch, watch_firewall};
