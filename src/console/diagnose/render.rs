//! Turns a report into what the reader sees: per problem the message, the place, the line and a hint.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};

use super::{Problem, Report};
use crate::text;

/// A file with more problems than this is another kind of file; the rest is only counted.
const MAX_SHOWN: usize = 50;

/// Longest excerpt, in bytes of the file. A line beyond that is no line that a person wrote.
const MAX_EXCERPT_BYTES: usize = 2_000;

pub(super) fn render(report: &Report, colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .decor_style(DecorStyle::Ascii);
    let mut shown: Vec<String> = report
        .problems
        .iter()
        .take(MAX_SHOWN)
        .map(|problem| render_problem(report, problem, &renderer))
        .collect();
    let hidden = report.problems.len().saturating_sub(MAX_SHOWN) + report.dropped;
    if hidden > 0 {
        shown.push(format!("… and {hidden} more errors"));
    }
    let mut rendered = shown.join("\n\n");
    rendered.push('\n');
    rendered
}

fn render_problem(report: &Report, problem: &Problem, renderer: &Renderer) -> String {
    let source = &report.source;
    let name = source.shown_name();
    let title = match &problem.span {
        Some(_) => problem.message.clone(),
        None => format!("{name}: {}", problem.message),
    };
    let mut group = Group::with_title(Level::ERROR.primary_title(title));
    let excerpt = problem
        .span
        .as_ref()
        .and_then(|span| Excerpt::around(&source.text, span));
    match (&excerpt, report.place(problem)) {
        (Some(excerpt), Some(place)) => {
            group = group.element(
                Snippet::source(&excerpt.text)
                    .line_start(place.line)
                    .path(&*name)
                    .annotation(AnnotationKind::Primary.span(excerpt.span.clone())),
            );
        }
        (None, Some(place)) => group = group.element(Level::NOTE.message(format!("at {place}"))),
        (_, None) => {}
    }
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint));
    }
    renderer.render(&[group])
}

/// The line that a span starts on, safe to show, and the span within it.
struct Excerpt {
    text: String,
    span: Range<usize>,
}

impl Excerpt {
    /// None when the line is too long to be worth showing.
    fn around(source: &str, span: &Range<usize>) -> Option<Self> {
        let line_start = source
            .get(..span.start)?
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line_end = source
            .get(span.start..)?
            .find('\n')
            .map_or(source.len(), |newline| span.start + newline);
        let line = source.get(line_start..line_end)?.trim_end_matches('\r');
        if line.len() > MAX_EXCERPT_BYTES {
            return None;
        }

        let (from, to) = (span.start - line_start, span.end.min(line_end) - line_start);
        let mut text = String::with_capacity(line.len());
        let (mut start, mut end) = (None, None);
        for (at, c) in line.char_indices() {
            if at == from {
                start = Some(text.len());
            }
            if at == to {
                end = Some(text.len());
            }
            // A tab is harmless here and its width matters; all else that steers a terminal goes.
            text.push(if c != '\t' && text::is_hostile(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            });
        }
        let start = start.unwrap_or(text.len());
        let end = end.unwrap_or(text.len()).max(start);
        Some(Self {
            text,
            span: start..end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Report, Source};

    fn report(text: &str) -> Report {
        Report::new(Source {
            name: "/etc/c.toml".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn the_line_the_place_and_the_hint_are_shown() {
        let mut report = report("a = 1\nreach = \"moon\" # far\r\n");
        report.add(
            Some(14..20),
            "unknown reach `moon`",
            Some("use \"host\" or \"lan\"".to_owned()),
        );

        let rendered = report.render(false);

        let expected = concat!(
            "error: unknown reach `moon`\n",
            " --> /etc/c.toml:2:9\n",
            "  |\n",
            "2 | reach = \"moon\" # far\n",
            "  |         ^^^^^^\n",
            "  |\n",
            "  = help: use \"host\" or \"lan\"\n",
        );
        assert_eq!(rendered, expected);
    }

    #[test]
    fn colour_comes_only_when_asked_for() {
        let mut report = report("a = 1\n");
        report.add(Some(0..1), "x", None);

        assert!(!report.render(false).contains('\u{1b}'));
        assert!(report.render(true).contains('\u{1b}'));
    }

    #[test]
    fn a_hostile_line_is_shown_harmless_with_the_marker_in_place() {
        let mut report = report("a = \"\u{1b}[31m\u{9b}\u{200e}\" oops\n");
        let at = report.source().text.find("oops").unwrap_or_default();
        report.add(Some(at..at + 4), "x", None);

        let rendered = report.render(false);

        assert!(!rendered.contains(['\u{1b}', '\u{9b}', '\u{200e}']), "{rendered}");
        let lines: Vec<&str> = rendered.lines().collect();
        let shown = lines.iter().find(|line| line.contains("oops"));
        let marker = lines.iter().find(|line| line.contains("^^^^"));
        let column =
            |line: Option<&&str>, what| line.and_then(|l| l.find(what).map(|at| l[..at].chars().count()));
        assert_eq!(column(shown, "oops"), column(marker, "^^^^"), "{rendered}");
    }

    #[test]
    fn a_span_over_many_lines_shows_its_first() {
        let mut report = report("a = [\n1,\n2]\n");
        report.add(Some(4..11), "x", None);

        let rendered = report.render(false);

        assert!(rendered.contains("1 | a = [\n"), "{rendered}");
        assert!(!rendered.contains("2 |"), "{rendered}");
    }

    #[test]
    fn a_huge_line_is_named_and_not_shown() {
        let mut report = report(&format!("a = \"{}\"\n", "x".repeat(1 << 20)));
        report.add(Some(4..9), "too long", None);

        let rendered = report.render(false);

        assert!(rendered.len() < 200, "{} bytes", rendered.len());
        assert!(rendered.contains("/etc/c.toml:1:5"), "{rendered}");
    }

    #[test]
    fn a_flood_of_problems_is_counted() {
        let mut report = report("a\n");
        for _ in 0..60 {
            report.add(Some(0..1), "x", None);
        }

        let rendered = report.render(false);

        assert_eq!(rendered.matches("error: x").count(), 50);
        assert!(rendered.ends_with("… and 10 more errors\n"), "{rendered}");
    }

    #[test]
    fn problems_of_the_whole_file_name_it() {
        let report = Report::of_file("/etc/c.toml", "is a directory", None);

        assert_eq!(report.render(false), "error: /etc/c.toml: is a directory\n");
    }
}
