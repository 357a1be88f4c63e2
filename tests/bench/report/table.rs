//! A section as text.

use wslnet_console::output::Table;

use super::{Column, Row, Section};

impl Section {
    /// For a terminal.
    pub fn table(&self) -> String {
        // A column that has no figure at all would only take room.
        let columns: Vec<&Column> = self
            .columns
            .iter()
            .filter(|column| self.rows.iter().any(|row| row.cells.contains_key(column.key)))
            .collect();
        let heads = ["", "topology"]
            .into_iter()
            .chain(columns.iter().map(|column| column.head));
        let mut table = Table::new(heads).right_aligned(2..columns.len() + 2);
        for row in &self.rows {
            let figures = columns.iter().map(|column| row.shown(column));
            table.row(
                [row.subject.clone(), row.topology.clone()]
                    .into_iter()
                    .chain(figures),
            );
        }
        let mut text = format!("\n{}\n{}\n\n{}", self.title, self.how, table.render(None));
        for row in &self.rows {
            if let Some(note) = &row.note {
                text += &format!("  {}: {note}\n", row.subject);
            }
        }
        text
    }
}

impl Row {
    /// A figure as tables show it.
    pub fn shown(&self, column: &Column) -> String {
        let figure = self.cells.get(column.key);
        figure.map_or_else(|| "–".to_owned(), |figure| grouped(*figure, column.digits))
    }
}

/// `12345.6` as `12,345.6`.
pub fn grouped(figure: f64, digits: usize) -> String {
    let text = format!("{figure:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out += rest;
    }
    out
}
