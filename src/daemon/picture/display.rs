//! The few labels of a forward that Windows shows.

use std::collections::BTreeMap;

use wslnet_console::text::clean;
use wslnet_protocol::limits;

use crate::labels::{Label, Labels};

/// Labels that say who is behind a port; the others are in the forward already.
const DISPLAYED: [&str; 7] = [
    "container",
    "image",
    "compose.service",
    "process",
    "unit",
    "user",
    "exe",
];

/// Writes labels for people, those that listeners share once for all of them.
#[derive(Debug, Default)]
pub(super) struct Display<'a> {
    /// By where the labels are in memory.
    written: BTreeMap<*const [Label], Vec<String>>,
    _labels: std::marker::PhantomData<&'a Labels>,
}

impl<'a> Display<'a> {
    /// Adds the labels of a listener to those of its forward, as many as that may have.
    pub(super) fn add(&mut self, display: &mut Vec<String>, labels: &'a Labels) {
        for part in labels.parts().filter(|part| part.iter().any(is_displayed)) {
            let written = self.written.entry(part).or_insert_with(|| written(part));
            for text in written {
                if display.len() < limits::LABELS && !display.contains(text) {
                    display.push(text.clone());
                }
            }
        }
    }
}

fn is_displayed(label: &Label) -> bool {
    DISPLAYED.contains(&label.key.as_ref())
}

fn written(labels: &[Label]) -> Vec<String> {
    let displayed = labels.iter().filter(|label| is_displayed(label));
    displayed
        .map(|label| clean(label.to_string(), limits::TEXT_CHARS))
        .collect()
}
