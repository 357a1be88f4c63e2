//! What every text that is shown must keep to.

use wslnet_console::diagnose::{Report, Reports};
use wslnet_console::text::is_hostile;

/// One line of text that a terminal shows and does not obey.
pub(crate) fn assert_line(text: &str) {
    assert!(!text.chars().any(is_hostile), "not safe to print: {text:?}");
}

/// Lines of such text. A tab is harmless.
fn assert_lines(text: &str) {
    let is_layout = |c: char| c == '\n' || c == '\t';
    let mut others = text.chars().filter(|c| !is_layout(*c));
    assert!(!others.any(is_hostile), "not safe to print: {text:?}");
}

/// The reports of several sources.
pub(crate) fn assert_reports(reports: &Reports) {
    assert!(!reports.each().is_empty());
    assert_line(&reports.summary());
    for report in reports.each() {
        assert_report(report);
    }
}

/// A report that has something to say, whose problems lie in the text, in its order.
pub(crate) fn assert_report(report: &Report) {
    let text = &report.source().text;
    assert!(!report.is_empty());
    assert!(
        report
            .problems()
            .is_sorted_by_key(|problem| problem.span.as_ref().map(|span| span.start))
    );
    for problem in report.problems() {
        assert!(!problem.message.is_empty());
        assert_line(&problem.message);
        assert_line(problem.hint.as_deref().unwrap_or_default());
        let Some(span) = &problem.span else { continue };
        assert!(
            text.get(span.clone()).is_some(),
            "{problem:?} lies outside of {text:?}"
        );
        let before = text.get(..span.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let place = report.place(problem).map(|place| (place.line, place.column));
        assert_eq!(
            place,
            Some((before.split('\n').count(), line.chars().count() + 1))
        );
    }
    assert_line(&report.summary());
    assert_lines(&report.render(false));
    // With colours, what is left of it after them is the same.
    assert_eq!(without_colours(&report.render(true)), report.render(false));
}

/// A text without the sequences that set colours (`ESC [ … m`).
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut plain, part| {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
        plain
    })
}
