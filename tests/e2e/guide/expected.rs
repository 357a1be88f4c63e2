//! What a transcript says of an output: the same text, but for `…`, which stands for any text within a line, or for any
//! lines where it is a line of its own. Blanks count, so that the tables of the guide are those of the program; only
//! those at the end of a line and empty lines at the end do not.

/// What stands for anything.
pub const ANY: &str = "…";

/// Whether an output is the expected one.
pub fn is_met(expected: &[String], output: &str) -> bool {
    let lines: Vec<&str> = expected.iter().map(String::as_str).collect();
    let seen: Vec<&str> = output.lines().collect();
    lines_match(without_empty_end(&lines), without_empty_end(&seen))
}

fn without_empty_end<'a, 't>(lines: &'a [&'t str]) -> &'a [&'t str] {
    let end = lines.iter().rposition(|line| !line.trim_end().is_empty());
    &lines[..end.map_or(0, |last| last + 1)]
}

fn lines_match(expected: &[&str], seen: &[&str]) -> bool {
    match (expected, seen) {
        ([], []) => true,
        ([any, rest @ ..], _) if *any == ANY => {
            (0..=seen.len()).any(|skipped| lines_match(rest, &seen[skipped..]))
        }
        ([line, rest @ ..], [other, others @ ..]) => line_matches(line, other) && lines_match(rest, others),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

fn line_matches(expected: &str, seen: &str) -> bool {
    let (expected, seen) = (expected.trim_end(), seen.trim_end());
    let Some((start, rest)) = expected.split_once(ANY) else {
        return expected == seen;
    };
    let Some(mut left) = seen.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split(ANY).collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

#[test]
fn an_ellipsis_stands_for_text_or_for_lines_and_for_nothing_else() {
    let met = |expected: &str, seen: &str| {
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        is_met(&expected, seen)
    };
    for (expected, seen) in [
        ("", ""),
        ("", "\n"),
        ("a b", "a b \n"),
        ("a…", "a"),
        ("a…", "abc\n"),
        ("a…c…e", "abcde"),
        ("…", ""),
        ("…", "a\nb\n"),
        ("a\n…\nb", "a\nb"),
        ("a\n…\nb", "a\nx\nb\nb\n"),
        ("…\nb\n…", "a\nb\nc"),
    ] {
        assert!(met(expected, seen), "{expected:?} {seen:?}");
    }
    for (expected, seen) in [
        ("", "a"),
        ("a", ""),
        ("a  b", "a b"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a…c…c", "ac"),
        ("a…", "ba"),
        ("…\nb", "a\nb\nc"),
        ("a\n…\nb", "a\n"),
    ] {
        assert!(!met(expected, seen), "{expected:?} {seen:?}");
    }
}
