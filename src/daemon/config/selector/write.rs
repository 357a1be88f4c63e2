//! From a label to the term that selects it: what `wslnetd labels` prints.

use glob::Pattern;

use super::{Key, Selector};
use crate::labels::{Label, Labels};

/// The term that this label fulfils, so written that [`Selector::parse`] reads it; none for a label that a selector
/// cannot name, or whose value it cannot: a user's name of digits alone, a text that is too long with its brackets. A selector
/// is one or more of them with commas between.
#[must_use]
pub fn term_for(label: &Label) -> Option<String> {
    let key = Key::named(&label.key)?;
    let value = if key.is_free_text() {
        // Comma and blanks would end the term or be trimmed; in brackets they are characters like others.
        escaped(&label.value)
    } else {
        label.value.to_string()
    };
    let term = format!("{}={value}", key.name());
    let alone = Labels::from_iter([(label.key.as_ref(), label.value.as_ref())]);
    Selector::parse(&term)
        .is_ok_and(|selector| selector.matches(&alone))
        .then_some(term)
}

fn escaped(value: &str) -> String {
    let text = Pattern::escape(value).replace(',', "[,]");
    let inner = text.trim();
    let bracketed = |blanks: &str| blanks.chars().map(|c| format!("[{c}]")).collect::<String>();
    if inner.is_empty() {
        return bracketed(&text);
    }
    let start = text.len() - text.trim_start().len();
    let (before, rest) = text.split_at(start);
    let (inner, after) = rest.split_at(inner.len());
    format!("{}{inner}{}", bracketed(before), bracketed(after))
}
