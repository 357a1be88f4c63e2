//! In which form the program runs. What it can do is another question, which `capability/` answers.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Somebody has started it, in a window.
    #[default]
    ByHand,
    /// In the background, for the user who has logged on.
    Logon,
    /// As a Windows service.
    Service,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByHand => "by hand",
            Self::Logon => "logon",
            Self::Service => "service",
        })
    }
}
