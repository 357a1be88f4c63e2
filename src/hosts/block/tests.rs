#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

const FIRST: &str = "# BEGIN wslnet: these lines come and go with wslnet; changes to them are lost";
const LAST: &str = "# END wslnet";

#[test]
fn a_block_follows_the_lines_of_others_and_leaves_no_trace() {
    for (file, end) in [
        ("127.0.0.1 localhost\n", "\n"),
        ("127.0.0.1 localhost\r\n", "\r\n"),
        ("\u{feff}127.0.0.1 localhost\r\n", "\r\n"),
        ("\r\n# only a comment\r\n", "\r\n"),
        ("a\nb\r\n", "\r\n"),
        ("a\r\nb\n", "\n"),
        ("", "\n"),
        ("\u{feff}", "\n"),
    ] {
        let with = put(file.as_bytes(), &[("shop", "10.0.0.1"), ("blog", "fd00::1")]);

        let block =
            format!("{FIRST}{end}fd00::1 blog.wsl # wslnet{end}10.0.0.1 shop.wsl # wslnet{end}{LAST}{end}");
        assert_eq!(text(&with), format!("{file}{block}"));
        assert_eq!(text(&put(&with, &[])), file);
    }
}

#[test]
fn a_last_line_without_an_end_gets_one_for_as_long_as_the_block_is_there() {
    for (file, end) in [
        ("127.0.0.1 localhost", "\n"),
        ("a\r\nb", "\r\n"),
        // A lone carriage return is no end.
        ("a\nb\r", "\n"),
        ("\u{feff}x", "\n"),
    ] {
        let with = put(file.as_bytes(), &[("shop", "10.0.0.1")]);

        assert!(text(&with).starts_with(&format!("{file}{end}{FIRST} (the line above had no end){end}")));
        assert_eq!(text(&put(&put(&with, &[("blog", "10.0.0.1")]), &[])), file);
        // Somebody appended a line since, which must not be joined to the one before.
        let appended = [&with[..], b"10.0.0.9 nas\n"].concat();
        assert_eq!(text(&put(&appended, &[])), format!("{file}{end}10.0.0.9 nas\n"));
    }
}

#[test]
fn other_names_change_the_block_where_it_stands() {
    let file = put(b"above\n", &[("shop", "10.0.0.1")]);
    let file = [&file[..], b"below\n"].concat();

    let changed = put(&file, &[("shop", "10.0.0.2"), ("blog", "10.0.0.1")]);

    let expected =
        format!("above\n{FIRST}\n10.0.0.1 blog.wsl # wslnet\n10.0.0.2 shop.wsl # wslnet\n{LAST}\nbelow\n");
    assert_eq!(text(&changed), expected);
}

#[test]
fn a_damaged_block_is_mended_and_no_foreign_line_lost() {
    let ours = "10.0.0.1 shop.wsl # wslnet";
    for (damaged, foreign) in [
        // The second mark is missing: a line that looks like ours but for the tag is not.
        (
            format!("a\n{FIRST}\n{ours}\n10.0.0.5 nas.wsl\n10.0.0.6 nas\n"),
            "a\n10.0.0.5 nas.wsl\n10.0.0.6 nas\n",
        ),
        // The first one is.
        (format!("a\n{ours}\n{LAST}\nb"), "a\nb"),
        // There are several, one within another, and lines of others within.
        (
            format!("{FIRST}\n{FIRST}\na\n{LAST}\n{ours}\nb\n{LAST}\nc\n{FIRST}\n{LAST}"),
            "a\nb\nc\n",
        ),
        // Edited by somebody whose editor trims, or makes other line ends.
        (format!("a\r\n{FIRST}\r\n{ours}\n{LAST}  \r\n"), "a\r\n"),
        // Cut off.
        (format!("a\n{FIRST}"), "a\n"),
    ] {
        assert_eq!(text(&put(damaged.as_bytes(), &[])), foreign);
        let mended = put(damaged.as_bytes(), &[("shop", "10.0.0.1")]);
        assert_eq!(mended.matches_of(FIRST), 1, "{}", text(&mended));
        assert_eq!(text(&put(&mended, &[])), foreign);
    }
}

#[test]
fn blocks_and_lines_of_others_are_not_taken_for_ours() {
    for foreign in [
        "# Added by Docker Desktop\r\n10.0.0.1 host.docker.internal\r\n# End of section\r\n",
        "# BEGIN wslnetd\n# END wslnetd\n",
        "# BEGIN wslnet2: x\n",
        "## BEGIN wslnet\n # END wslnet\n",
        "10.0.0.1  shop.wsl # wslnet\n",
        "10.0.0.1 shop.wsl blog.wsl # wslnet\n",
        "10.0.0.1 shop.example # wslnet\n",
        "nowhere shop.wsl # wslnet\n",
    ] {
        assert_eq!(text(&put(foreign.as_bytes(), &[])), foreign);
    }
}

#[test]
fn a_name_that_somebody_else_has_is_left_to_them() {
    for line in [
        "10.0.0.9 shop.wsl",
        "10.0.0.9\tnas SHOP.wsl. other",
        "  fd00::9 shop.WSL#comment",
        "\u{feff}10.0.0.9 shop.wsl",
        "nonsense shop.wsl",
    ] {
        let file = format!("{line}\r\nlast\r\n");
        let names = names(&[("shop", "10.0.0.1"), ("blog", "10.0.0.1")]);

        let rewritten = rewrite(file.as_bytes(), &names, LineEnd::Lf).unwrap();

        let taken: Vec<&str> = rewritten.taken.iter().map(HostName::as_str).collect();
        assert_eq!(taken, ["shop.wsl"], "{line}");
        assert!(!text(&rewritten.bytes).contains("10.0.0.1 shop"), "{line}");
        assert!(text(&rewritten.bytes).contains("10.0.0.1 blog.wsl"), "{line}");
    }
    for free in [
        "# 10.0.0.9 shop.wsl",
        "shop.wsl 10.0.0.9",
        "10.0.0.9 shop.wsl.local my-shop.wsl",
    ] {
        let names = names(&[("shop", "10.0.0.1")]);
        assert!(
            rewrite(free.as_bytes(), &names, LineEnd::Lf)
                .unwrap()
                .taken
                .is_empty(),
            "{free}"
        );
    }
}

#[test]
fn when_all_names_are_taken_there_is_no_block() {
    let file = b"10.0.0.9 shop.wsl\n";

    assert_eq!(put(file, &[("shop", "10.0.0.1")]), file);
}

#[test]
fn nothing_is_written_into_a_file_that_nobody_can_read() {
    for file in [
        &b"\xff\xfea\0\n\0"[..],
        b"\xfe\xff\0a\0\n",
        // What is left without the lines of ours.
        b"# END wslnet\n\xff\xfea\0\n\0",
    ] {
        for list in [&[("shop", "10.0.0.1")][..], &[]] {
            assert_eq!(rewrite(file, &names(list), LineEnd::CrLf), Err(Utf16), "{file:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_block_leaves_no_trace_in_any_file(file in any_file(), names in some_names(), end in any_end()) {
        let clean = bytes(&file, &Names::default(), end);

        let with = bytes(&file, &names, end);

        prop_assert_eq!(bytes(&with, &Names::default(), end), clean);
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone(file in any_file(), names in some_names(), end in any_end()) {
        let once = bytes(&file, &names, end);

        prop_assert_eq!(bytes(&once, &names, end), once);
    }

    #[test]
    fn each_line_of_others_is_there_in_its_place(file in any_file(), names in some_names(), end in any_end()) {
        let foreign = |file: &[u8]| -> Vec<Vec<u8>> {
            let lines = file.split_inclusive(|byte| *byte == b'\n').map(|line| split_marks(line).1);
            lines.filter(|line| !is_ours(line)).map(|line| line.trim_ascii_end().to_vec()).collect()
        };

        let with = bytes(&file, &names, end);

        let ends_alike = |lines: Vec<Vec<u8>>| {
            // An end that the block had brought goes with it, and leaves an empty last line out.
            let mut lines = lines;
            while lines.last().is_some_and(Vec::is_empty) { lines.pop(); }
            lines
        };
        prop_assert_eq!(ends_alike(foreign(&with)), ends_alike(foreign(&file)));
        prop_assert!(with.starts_with(BOM) || !file.starts_with(BOM));
    }

    #[test]
    fn each_name_that_is_not_taken_is_there_once(file in any_file(), names in some_names(), end in any_end()) {
        let Ok(rewritten) = rewrite(&file, &names, end) else { return Ok(()) };

        for (name, address) in names.iter() {
            let count = rewritten.bytes.as_ref().matches_of(&line(name, address));
            prop_assert_eq!(count, usize::from(!rewritten.taken.contains(name)));
        }
    }
}

/// Any bytes, and pieces of what may be in such files in any order.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(BOM.to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(format!("{FIRST}\n").into_bytes()),
        Just(format!("{FIRST}{JOINED}\r\n").into_bytes()),
        Just(LAST.as_bytes().to_vec()),
        Just(b"10.0.0.1 a.wsl # wslnet\n".to_vec()),
        Just(b"10.0.0.1 b.wsl\r\n".to_vec()),
        Just(b"127.0.0.1 localhost".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn some_names() -> impl Strategy<Value = Names> {
    proptest::collection::btree_map("[a-e]", any::<[u8; 4]>(), 0..5).prop_map(|map| {
        let mut names = Names::default();
        for (label, address) in map {
            // Some lead nowhere.
            let _ = names.add(HostName::of_forward(&label).unwrap(), address.into());
        }
        names
    })
}

fn any_end() -> impl Strategy<Value = LineEnd> {
    prop_oneof![Just(LineEnd::Lf), Just(LineEnd::CrLf)]
}

/// The rewritten file; the file itself if it is none to write into.
fn bytes(file: &[u8], names: &Names, end: LineEnd) -> Vec<u8> {
    rewrite(file, names, end).map_or_else(|Utf16| file.to_vec(), |rewritten| rewritten.bytes.into_owned())
}

fn put(file: &[u8], list: &[(&str, &str)]) -> Vec<u8> {
    rewrite(file, &names(list), LineEnd::Lf)
        .unwrap()
        .bytes
        .into_owned()
}

fn names(list: &[(&str, &str)]) -> Names {
    let mut names = Names::default();
    for (label, address) in list {
        names
            .add(HostName::of_forward(label).unwrap(), address.parse().unwrap())
            .unwrap();
    }
    names
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

trait Matches {
    /// How many lines are this one.
    fn matches_of(&self, line: &str) -> usize;
}

impl Matches for [u8] {
    fn matches_of(&self, line: &str) -> usize {
        let body = self.strip_prefix(BOM).unwrap_or(self);
        let lines = body
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| split_end(line).0);
        lines.filter(|found| *found == line.as_bytes()).count()
    }
}
