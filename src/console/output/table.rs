//! Aligned columns without lines, for people. Programs take the JSON.

use comfy_table::{CellAlignment, ContentArrangement, Table as Layout, presets};

use crate::text;

/// How many characters of a cell are shown.
const MAX_CELL_CHARS: usize = 1_000;

/// Rows of cells under a header.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    right_aligned: Vec<usize>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new<'h>(header: impl IntoIterator<Item = &'h str>) -> Self {
        Self {
            header: header.into_iter().map(ToOwned::to_owned).collect(),
            rows: Vec::new(),
            right_aligned: Vec::new(),
        }
    }

    /// Aligns the columns `indices` (from 0) to the right, as numbers want it.
    #[must_use]
    pub fn right_aligned(mut self, indices: impl IntoIterator<Item = usize>) -> Self {
        self.right_aligned = indices.into_iter().collect();
        self
    }

    /// Adds a row. The cells may hold foreign text; it is made safe here.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| text::clean(cell.as_ref(), MAX_CELL_CHARS))
                .collect(),
        );
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines. Cells wrap to fit into `width` columns; without a width each row is one line.
    #[must_use]
    pub fn render(&self, width: Option<u16>) -> String {
        let mut layout = Layout::new();
        layout.load_style(presets::NOTHING);
        match width {
            Some(width) => layout
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
            None => layout.set_content_arrangement(ContentArrangement::Disabled),
        };
        layout.set_header(&self.header).add_rows(&self.rows);
        for column in layout.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for &index in &self.right_aligned {
            if let Some(column) = layout.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        layout
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    fn sample() -> Table {
        let mut table = Table::new(["PORT", "PROCESS", "STATE"]).right_aligned([0]);
        table.row(["80", "nginx", "active"]);
        table.row(["8000", "python3 -m http.server", "denied"]);
        table
    }

    #[test]
    fn columns_are_aligned_without_lines_or_trailing_blanks() {
        let expected = concat!(
            "PORT  PROCESS                 STATE\n",
            "  80  nginx                   active\n",
            "8000  python3 -m http.server  denied\n",
        );

        assert_eq!(sample().render(None), expected);
    }

    #[test]
    fn a_terminal_is_never_overrun_and_nothing_is_lost() {
        let rendered = sample().render(Some(28));

        assert!(
            rendered.lines().all(|line| line.chars().count() <= 28),
            "{rendered}"
        );
        for word in ["python3", "http.server", "denied"] {
            assert!(rendered.contains(word), "{word} in {rendered}");
        }
    }

    #[test]
    fn without_a_terminal_a_row_stays_one_line_however_long() {
        let mut table = Table::new(["A"]);
        table.row(["x".repeat(900)]);

        assert_eq!(table.render(None).lines().count(), 2);
    }

    #[test]
    fn foreign_cells_cannot_forge_rows_or_steer_the_terminal() {
        let mut table = Table::new(["A"]);
        table.row(["a\nb\u{1b}[2J"]);

        assert_eq!(table.render(None), "A\na\u{fffd}b\u{fffd}[2J\n");
    }
}
