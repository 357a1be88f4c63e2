//! What is wrong with several sources that make one configuration together.

use std::fmt;

use super::Report;

/// The reports of those sources that have problems, in the order of the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports(Vec<Report>);

impl Reports {
    /// Joins reports; none if there are none.
    #[must_use]
    pub fn join(reports: Vec<Report>) -> Option<Self> {
        (!reports.is_empty()).then_some(Self(reports))
    }

    /// The reports.
    #[must_use]
    pub fn each(&self) -> &[Report] {
        &self.0
    }

    /// The first problem in one line, and how many sources have more.
    #[must_use]
    pub fn summary(&self) -> String {
        let first = self.0.first().map(Report::summary).unwrap_or_default();
        match self.0.len().saturating_sub(1) {
            0 => first,
            1 => format!("{first}, and there are errors in 1 more file"),
            more => format!("{first}, and there are errors in {more} more files"),
        }
    }

    /// All reports for a reader, with the offending lines; with ANSI colours only if `colour`.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let reports = self.0.iter().map(|report| report.render(colour));
        reports.collect::<Vec<_>>().join("\n")
    }
}

impl From<Report> for Reports {
    fn from(report: Report) -> Self {
        Self(vec![report])
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Reports {}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_file_is_shown_and_the_summary_counts_the_others() {
        let report = |name: &str| Report::of_file(name, "is wrong", None);
        let reports = Reports::join(vec![report("a.toml"), report("b.toml"), report("c.toml")]).unwrap();

        assert_eq!(
            reports.summary(),
            "a.toml: is wrong, and there are errors in 2 more files"
        );
        let rendered = reports.render(false);
        assert!(
            ["a.toml", "b.toml", "c.toml"]
                .iter()
                .all(|name| rendered.contains(name)),
            "{rendered}"
        );
        assert_eq!(Reports::join(Vec::new()), None);
        assert_eq!(Reports::from(report("a.toml")).summary(), "a.toml: is wrong");
    }
}
