//! What a check has found.

use serde::Serialize;
use wslnet_console::text::clean;

/// The longest text that is shown, in characters.
const TEXT_CHARS: usize = 1000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// This user may not look, or there is nothing to look at.
    Skip,
    /// It works, but not as it should, or not all of it.
    Warn,
    /// It keeps listeners from being reachable, or the daemon from its confinement.
    Fail,
}

impl Level {
    /// The word that people see.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that is as it should be, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was seen, one line that is safe to show.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(text: impl AsRef<str>) -> Self {
        Self::new(Level::Ok, text.as_ref(), None)
    }

    pub(super) fn skipped(text: impl AsRef<str>) -> Self {
        Self::new(Level::Skip, text.as_ref(), None)
    }

    pub(super) fn warn(text: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::new(Level::Warn, text.as_ref(), Some(fix.as_ref()))
    }

    pub(super) fn fail(text: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::new(Level::Fail, text.as_ref(), Some(fix.as_ref()))
    }

    fn new(level: Level, text: &str, fix: Option<&str>) -> Self {
        Self {
            level,
            text: clean(text, TEXT_CHARS),
            fix: fix.map(|fix| clean(fix, TEXT_CHARS)),
        }
    }
}

/// The words of findings, for tests: level and text.
#[cfg(test)]
pub(super) fn words(findings: &[Finding]) -> Vec<(&'static str, &str)> {
    let words = findings
        .iter()
        .map(|finding| (finding.level.word(), finding.text.as_str()));
    words.collect()
}
