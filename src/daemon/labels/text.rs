//! Text from other programs, made safe: a process may call itself anything, also an escape sequence.

use std::char::REPLACEMENT_CHARACTER;

/// The longest name that is kept, in characters.
pub(super) const NAME_LIMIT: usize = 64;
/// The longest path that is kept, in characters.
pub(super) const PATH_LIMIT: usize = 256;

/// At most `limit` characters, with U+FFFD for what could move a cursor, end a line, turn the direction of writing,
/// or is not UTF-8.
pub(super) fn safe(bytes: &[u8], limit: usize) -> String {
    // A character has at most four bytes: nothing after that can be among the first `limit` characters.
    let bytes = bytes.get(..limit.saturating_mul(4)).unwrap_or(bytes);
    String::from_utf8_lossy(bytes)
        .chars()
        .take(limit)
        .map(|character| {
            if is_harmful(character) {
                REPLACEMENT_CHARACTER
            } else {
                character
            }
        })
        .collect()
}

fn is_harmful(character: char) -> bool {
    // C0, DEL and C1 are what `is_control` means.
    let bidirectional = matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || bidirectional || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stay_as_they_are() {
        assert_eq!(
            safe("nginx: worker é 日本".as_bytes(), NAME_LIMIT),
            "nginx: worker é 日本"
        );
    }

    #[test]
    fn what_could_fool_a_terminal_is_replaced() {
        assert_eq!(safe(b"\x1b]0;pwned\x07", NAME_LIMIT), "\u{fffd}]0;pwned\u{fffd}");
        assert_eq!(
            safe("a\nb\rc\u{9b}d\u{7f}e".as_bytes(), NAME_LIMIT),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e"
        );
        assert_eq!(
            safe("gpj.\u{202e}exe\u{2066}\u{2028}".as_bytes(), NAME_LIMIT),
            "gpj.\u{fffd}exe\u{fffd}\u{fffd}"
        );
        assert_eq!(safe(b"caf\xe9", NAME_LIMIT), "caf\u{fffd}");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(safe("é".repeat(100).as_bytes(), NAME_LIMIT), "é".repeat(64));
        assert_eq!(safe("😀".repeat(100).as_bytes(), NAME_LIMIT).chars().count(), 64);
    }

    proptest! {
        #[test]
        fn nothing_harmful_comes_through(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = safe(&bytes, NAME_LIMIT);

            prop_assert!(text.chars().count() <= NAME_LIMIT);
            prop_assert!(!text.chars().any(is_harmful));
        }
    }
}
