//! Documents, right and wrong, through every reader method.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{Table, parse, span_within};
use crate::diagnose::{Report, Source};

fn source(text: &str) -> Source {
    Source {
        name: "c.toml".to_owned(),
        text: text.to_owned(),
    }
}

/// Takes one key of each kind.
fn walk(table: &mut Table<'_>) {
    table.string("name");
    table.strings("names");
    table.integer("count", 1..=9);
    table.choice("reach", &[("host", 1), ("lan", 2)]);
    table.parsed::<std::net::SocketAddr>("companion", "an address and a port");
    if let Some(mut inner) = table.table("expose") {
        inner.string("reach");
    }
    for mut rule in table.tables("rule") {
        rule.string("when");
    }
}

fn messages(text: &str) -> Vec<String> {
    let problems = |report: Report| {
        report
            .problems()
            .iter()
            .map(|problem| {
                let place = report
                    .place(problem)
                    .map_or((0, 0), |place| (place.line, place.column));
                format!("{}:{} {}", place.0, place.1, problem.message)
            })
            .collect()
    };
    parse(source(text), walk).err().map(problems).unwrap_or_default()
}

#[test]
fn a_right_file_gives_its_values() {
    let text = "name = \"x\"\nnames = [\"a\", 'b']\ncount = 0x9\n[expose]\nn = 1\n";

    let taken = parse(source(text), |table| {
        let inner = table
            .table("expose")
            .and_then(|mut inner| inner.integer("n", 0..=1));
        (
            table.string("name").map(|name| name.into_inner()),
            table.strings("names").map(|names| {
                names
                    .into_iter()
                    .map(|name| name.into_inner())
                    .collect::<Vec<_>>()
            }),
            table.integer("count", 1..=9).map(|count| count.into_inner()),
            inner.map(|n| n.into_inner()),
        )
    });

    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(taken, Ok((Some("x".to_owned()), Some(names), Some(9), Some(1))));
}

#[test]
fn every_wrong_type_is_reported() {
    let found = messages("name = 1\nnames = \"a\"\ncount = \"a\"\nreach = []\nexpose = 3\nrule = 1.5\n");

    assert_eq!(
        found,
        [
            "1:8 `name` takes a string, and this is an integer",
            "2:9 `names` takes an array of strings, and this is a string",
            "3:9 `count` takes an integer, and this is a string",
            "4:9 `reach` takes a string, and this is an array",
            "5:10 `expose` takes a table, and this is an integer",
            "6:8 `rule` takes an array of tables, and this is a float",
        ]
    );
}

#[test]
fn one_bad_element_does_not_hide_the_next() {
    assert_eq!(
        messages("names = [1, \"a\", true]\nrule = [{ when = \"x\" }, 3]\n"),
        [
            "1:10 `names` takes only strings, and this is an integer",
            "1:18 `names` takes only strings, and this is a boolean",
            "2:25 `rule` takes only tables, and this is an integer",
        ]
    );
}

#[test]
fn values_out_of_range_and_unknown_choices_are_reported() {
    assert_eq!(
        messages("count = 10\nreach = \"lam\"\ncompanion = \"1.2.3.4:99999\"\n"),
        [
            "1:9 `10` is out of range for `count`",
            "2:9 `lam` is no value of `reach`",
            "3:13 `1.2.3.4:99999` is no value of `companion`: invalid socket address syntax",
        ]
    );
    assert_eq!(
        messages("count = 99999999999999999999999"),
        ["1:9 `99999999999999999999999` is out of range for `count`"]
    );
}

#[test]
fn unknown_keys_are_found_at_every_depth() {
    assert_eq!(
        messages("nmae = 1\n[expose]\nreech = 1\n[[rule]]\nwhen = \"x\"\n[[rule]]\nif = 1\n"),
        [
            "1:1 unknown key `nmae`",
            "3:1 unknown key `reech` in [expose]",
            "7:1 unknown key `if` in [[rule]]",
        ]
    );
}

#[test]
fn a_mistyped_key_gets_its_word() {
    let report = parse(source("nmae = 1\n"), walk).expect_err("unknown key");

    assert_eq!(report.problems()[0].hint.as_deref(), Some("did you mean `name`?"));
}

#[test]
fn syntax_errors_do_not_hide_other_problems() {
    assert_eq!(
        messages("reach = lan\nname = \"a\ncount = 11\nwhat = 1\n"),
        [
            "1:9 TOML syntax: string values must be quoted, expected literal string",
            "2:10 TOML syntax: invalid basic string, expected `\"`",
            "3:9 `11` is out of range for `count`",
            "4:1 unknown key `what`",
        ]
    );
    assert_eq!(
        messages("name = \"a\"\nname = \"b\"\n"),
        ["2:1 TOML syntax: duplicate key"]
    );
}

#[test]
fn an_open_bracket_is_one_mistake_and_what_precedes_it_still_counts() {
    assert_eq!(
        messages("count = 11\nnames = [\"a\"\n[expose]\nreach = \"lan\"\n"),
        [
            "1:9 `11` is out of range for `count`",
            "3:1 TOML syntax: missing comma between array elements, expected `,`",
            "4:14 TOML syntax: unclosed array, expected `]`",
        ]
    );
}

#[test]
fn hostile_depth_and_size_are_errors_and_no_crash() {
    for text in [
        format!("a = {}", "[".repeat(500_000)),
        format!("{}a = 1", "a.".repeat(500_000)),
        format!("a = {}", "{a=".repeat(300_000)),
        "a=1\n".repeat(20_000),
    ] {
        let report = parse(source(&text), walk).expect_err("hostile");

        assert!(report.to_string().len() < 100_000);
    }
}

#[test]
fn a_part_of_a_string_has_its_own_place_unless_escapes_moved_it() {
    for (text, part) in [
        ("s = \"ab=cd\"", "cd"),
        ("s = 'ab=cd'", "cd"),
        ("s = \"\"\"ab=cd\"\"\"", "cd"),
        ("s = \"\\u0061b=cd\"", "\"\\u0061b=cd\""),
    ] {
        let span = parse(source(text), |table| {
            table.string("s").map(|value| span_within(text, &value, 3..5))
        });

        assert_eq!(
            span.map(|span| span.map(|span| &text[span])),
            Ok(Some(part)),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_crashes_and_every_span_lies_within(text in "[a-z\\[\\]{}=.\"'#\\\\, \n0-9é\u{0}]{0,120}") {
        if let Err(report) = parse(source(&text), walk) {
            for problem in report.problems() {
                if let Some(span) = &problem.span {
                    prop_assert!(text.get(span.clone()).is_some(), "{:?}", problem);
                }
            }
            prop_assert!(report.render(false).starts_with("error: "));
        }
    }
}
