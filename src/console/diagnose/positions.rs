//! Lines and columns of many places of one text, without counting from its beginning each time.

use super::{Place, Source, floor_boundary};

/// Characters are counted from the last multiple of this, in bytes.
const STEP: usize = 256;

/// The places of a source. To make it costs one walk through the text, and each place no more than a search among its lines.
#[derive(Debug, Clone)]
pub struct Positions<'s> {
    text: &'s str,
    name: String,
    /// Where the lines begin, in bytes.
    lines: Vec<usize>,
    /// How many characters begin before each multiple of [`STEP`].
    characters: Vec<usize>,
}

impl<'s> Positions<'s> {
    /// Those of this source.
    #[must_use]
    pub fn of(source: &'s Source) -> Self {
        let text = source.text.as_str();
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let mut counts = vec![0];
        let mut so_far = 0;
        for step in text.as_bytes().chunks_exact(STEP) {
            so_far += characters(step);
            counts.push(so_far);
        }
        Self {
            text,
            name: source.shown_name().into_owned(),
            lines: [0].into_iter().chain(newlines.map(|(at, _)| at + 1)).collect(),
            characters: counts,
        }
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &'s str {
        self.text
    }

    /// Where the byte at `offset` stands; past the end counts as the end.
    #[must_use]
    pub fn place(&self, offset: usize) -> Place {
        let offset = floor_boundary(self.text, offset);
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let begin = line.checked_sub(1).and_then(|at| self.lines.get(at)).copied();
        let column = self.before(offset) - self.before(begin.unwrap_or_default());
        Place {
            name: self.name.clone(),
            line,
            column: column + 1,
        }
    }

    /// How many characters begin before the byte at `offset`.
    fn before(&self, offset: usize) -> usize {
        let counted = self.characters.get(offset / STEP).copied().unwrap_or_default();
        counted + characters(self.uncounted(offset))
    }

    /// The bytes before `offset` that the index does not count.
    fn uncounted(&self, offset: usize) -> &[u8] {
        let bytes = self.text.as_bytes();
        bytes.get(offset - offset % STEP..offset).unwrap_or_default()
    }
}

/// The characters that begin in these bytes of a text.
fn characters(bytes: &[u8]) -> usize {
    // All bytes of a character but the first are 10xxxxxx.
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: String) -> Source {
        Source {
            name: "c.toml".to_owned(),
            text,
        }
    }

    /// As one counts by hand.
    fn counted(text: &str, offset: usize) -> (usize, usize) {
        let before = &text[..floor_boundary(text, offset)];
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    #[test]
    fn each_place_is_the_one_that_counting_from_the_beginning_finds() {
        let lines = ["", "a", "é = \"\u{1f980}\"", "\r", &"wide: ééé ".repeat(100)];
        let whole = lines
            .iter()
            .cycle()
            .take(23)
            .fold(String::new(), |text, line| text + line + "\n");
        for text in [
            String::new(),
            "x".repeat(STEP),
            "é".repeat(STEP),
            "\n".repeat(STEP + 1),
            whole,
        ] {
            let source = source(text);
            let positions = Positions::of(&source);
            for offset in 0..source.text.len() + 3 {
                let place = positions.place(offset);
                assert_eq!(
                    (place.line, place.column),
                    counted(&source.text, offset),
                    "byte {offset}"
                );
            }
        }
    }

    /// What makes thousands of places cheap, on one line as on many.
    #[test]
    fn no_place_is_counted_from_further_back_than_a_step() {
        for text in ["x".repeat(1 << 20), "xxxxxxx\n".repeat(1 << 17)] {
            let source = source(text);
            let positions = Positions::of(&source);

            let most = (0..source.text.len())
                .map(|offset| positions.uncounted(offset).len())
                .max();

            assert_eq!(most, Some(STEP - 1));
        }
    }
}
