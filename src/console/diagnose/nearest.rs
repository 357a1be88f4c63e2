//! "Did you mean …?": the known word nearest to a mistyped one.

/// Longer words are no typing slips, and the comparison costs the product of the lengths.
const MAX_WORD_CHARS: usize = 64;

/// Returns the word of `known` that `word` most likely meant, or none if nothing is near.
///
/// A word is near if a third of its characters or fewer must change (at least one may); case and `-`/`_` do not
/// count as a change.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = folded(word)?;
    known
        .into_iter()
        .filter_map(|candidate| {
            let folded = folded(candidate)?;
            let distance = distance(&word, &folded);
            (distance <= (folded.len() / 3).max(1) && distance < folded.len())
                .then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

fn folded(word: &str) -> Option<Vec<char>> {
    let folded: Vec<char> = word
        .chars()
        .take(MAX_WORD_CHARS + 1)
        .map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() })
        .collect();
    (folded.len() <= MAX_WORD_CHARS).then_some(folded)
}

/// Edit distance where two neighbours swapped count once (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(from != to))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KNOWN: [&str; 4] = ["opt-out", "expose", "source", "port"];

    #[test]
    fn a_slip_finds_its_word() {
        assert_eq!(nearest("optout", KNOWN), Some("opt-out"));
        assert_eq!(nearest("opt_out", KNOWN), Some("opt-out"));
        assert_eq!(nearest("Expose", KNOWN), Some("expose"));
        assert_eq!(nearest("expsoe", KNOWN), Some("expose"));
        assert_eq!(nearest("prot", KNOWN), Some("port"));
    }

    #[test]
    fn another_word_finds_nothing() {
        assert_eq!(nearest("colour", KNOWN), None);
        assert_eq!(nearest("", KNOWN), None);
        assert_eq!(nearest(&"p".repeat(1 << 20), KNOWN), None);
    }
}
