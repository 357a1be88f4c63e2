//! Foreign text made safe to show. Process names, file contents and anything else that other people chose passes
//! through here before it reaches a terminal, a log or a page. This is not escaping for a syntax: JSON and HTML
//! still quote what they must.

/// What stands for a character that must not be shown.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// What marks text that was cut.
const ELLIPSIS: char = '…';

/// Returns `foreign` as one line of at most `max_chars` characters that a terminal shows and does not obey.
///
/// Invalid UTF-8 and each character that [`is_hostile`] becomes U+FFFD. Text that is too long ends in `…`, which
/// counts as one of the `max_chars`.
#[must_use]
pub fn clean(foreign: impl AsRef<[u8]>, max_chars: usize) -> String {
    let bytes = foreign.as_ref();
    // A command line can be megabytes long; a character has at most four bytes, so nothing past this can show.
    let enough = max_chars.saturating_add(1).saturating_mul(4).min(bytes.len());
    let shown = String::from_utf8_lossy(bytes.get(..enough).unwrap_or(bytes));
    let mut chars = shown.chars().map(|c| if is_hostile(c) { REPLACEMENT } else { c });

    let mut cleaned: String = chars.by_ref().take(max_chars).collect();
    if max_chars > 0 && (chars.next().is_some() || enough < bytes.len()) {
        while cleaned.chars().count() >= max_chars {
            cleaned.pop();
        }
        cleaned.push(ELLIPSIS);
    }
    cleaned
}

/// Whether `c` can steer a terminal, forge a line or reorder what is read: C0, DEL, C1, the line and paragraph
/// separators, and the bidi controls (Unicode property `Bidi_Control`).
#[must_use]
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::{clean, is_hostile};

    #[test]
    fn escape_sequences_and_forged_lines_lose_their_power() {
        assert_eq!(clean("\u{1b}[31mred", 64), "\u{fffd}[31mred");
        assert_eq!(clean("a\r\nb\tc\0", 64), "a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(clean("x\u{202e}y\u{9b}2J", 64), "x\u{fffd}y\u{fffd}2J");
    }

    #[test]
    fn exactly_the_listed_characters_are_hostile() {
        // What the protocol refuses in texts is held to the same list.
        let listed: Vec<(u32, u32)> = include_str!("text/hostile.txt")
            .lines()
            .filter_map(|line| line.split_once('-'))
            .map(|(first, last)| {
                let number = |hex| u32::from_str_radix(hex, 16).expect("hex digits");
                (number(first), number(last))
            })
            .collect();
        assert_eq!(listed.len(), 6);

        for c in '\0'..=char::MAX {
            let hostile = listed
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&u32::from(c)));
            assert_eq!(is_hostile(c), hostile, "{c:?}");
        }
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(clean(b"ab\xffc", 64), "ab\u{fffd}c");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        assert_eq!(clean("nginx: worker 日本 é", 64), "nginx: worker 日本 é");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abcde…");
        assert_eq!(clean("abc", 0), "");
        assert_eq!(clean("x".repeat(1 << 20), 3), "xx…");
    }

    #[test]
    fn a_cut_inside_a_character_is_no_damage() {
        let wide = "😀".repeat(100);

        assert_eq!(clean(&wide, 5), "😀😀😀😀…");
    }

    proptest! {
        #[test]
        fn nothing_hostile_survives(bytes: Vec<u8>, max in 0usize..80) {
            let cleaned = clean(&bytes, max);

            prop_assert!(!cleaned.chars().any(is_hostile));
            prop_assert!(cleaned.chars().count() <= max);
        }

        #[test]
        fn nothing_hostile_survives_in_text(text in any::<String>(), max in 0usize..80) {
            let cleaned = clean(&text, max);

            prop_assert!(!cleaned.bytes().any(|b| b < 0x20 || b == 0x7f));
            let c1 = '\u{80}'..='\u{9f}';
            prop_assert!(!cleaned.chars().any(|c| c1.contains(&c)));
            prop_assert!(cleaned.chars().count() <= max);
        }

        #[test]
        fn cleaning_twice_changes_nothing(text in any::<String>(), max in 1usize..80) {
            let once = clean(&text, max);

            prop_assert_eq!(clean(&once, max), once);
        }
    }
}
