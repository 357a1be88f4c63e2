//! Which events of the program become entries, and their text.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::TARGET;

/// The longest text, in characters; Windows takes 31,839.
const LIMIT: usize = 4_000;

/// What Windows calls the type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something does not work.
    Error,
    /// Something is odd, and works all the same.
    Warning,
    /// Something that an administrator wants to find again.
    Information,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its type.
    pub(super) kind: Kind,
    /// Its text, in which nothing can forge a line.
    pub(super) text: String,
}

impl Entry {
    /// An entry with this text.
    pub(super) fn new(kind: Kind, text: &str) -> Self {
        Self {
            kind,
            text: wslnet_console::text::clean(literal(text), LIMIT),
        }
    }

    /// The entry that an event makes, if it makes one.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        let metadata = event.metadata();
        let kind = match *metadata.level() {
            Level::ERROR => Kind::Error,
            Level::WARN => Kind::Warning,
            Level::INFO if metadata.target() == TARGET => Kind::Information,
            _ => return None,
        };
        let mut text = Text::default();
        event.record(&mut text);
        Some(Self::new(kind, &format!("{}{}", text.message, text.fields)))
    }
}

/// A text in which the event viewer finds nothing to insert: to it `%1` is the first text of an event and `%%1` a message of Windows
/// (learn.microsoft.com/windows/win32/api/winbase/nf-winbase-reporteventw, remarks), and names are chosen by others.
fn literal(text: &str) -> String {
    text.replace('%', "% ")
}

/// The message first, whatever stands before it, then the fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Strings take everything.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<Entry>>>);

    impl<S: tracing::Subscriber> Layer<S> for Collected {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().extend(Entry::of(event));
        }
    }

    fn entries(log: impl FnOnce()) -> Vec<Entry> {
        let collected = Collected::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(collected.clone()), log);
        collected.0.lock().unwrap().clone()
    }

    #[test]
    fn what_went_wrong_and_what_was_exposed_becomes_an_entry_and_nothing_else() {
        let entries = entries(|| {
            tracing::info!("a session was opened");
            tracing::warn!(reason = "busy", port = 8000, "not opened");
            tracing::error!("gone");
            tracing::info!(target: TARGET, distro = %"ubuntu", "exposed");
        });

        let expected = [
            (Kind::Warning, "not opened reason=busy port=8000"),
            (Kind::Error, "gone"),
            (Kind::Information, "exposed distro=ubuntu"),
        ];
        assert_eq!(entries, expected.map(|(kind, text)| Entry::new(kind, text)));
    }

    #[test]
    fn the_event_viewer_has_nothing_to_insert() {
        let entries = entries(|| tracing::warn!(name = "%1 %%1 %!S! 100%", "odd"));

        assert_eq!(
            entries,
            [Entry {
                kind: Kind::Warning,
                text: "odd name=% 1 % % 1 % !S! 100% ".to_owned()
            }]
        );
    }

    #[test]
    fn nobody_forges_a_line_or_fills_the_log_with_one() {
        let hostile = format!("x\r\nError: all is lost\u{202e}{}", "y".repeat(100_000));

        let entries = entries(|| tracing::warn!(name = hostile, "odd"));

        let text = &entries.first().unwrap().text;
        assert!(!text.contains(['\r', '\n', '\u{202e}']), "{text}");
        assert!(text.chars().count() <= LIMIT);
    }
}
