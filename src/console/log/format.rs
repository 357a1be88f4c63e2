//! How one event becomes one line.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::text;

/// How many characters of an event are written.
const MAX_EVENT_CHARS: usize = 4_000;

/// What surrounds the fields of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `<N>` for the journal (sd-daemon(3)), which adds the rest.
    Journal,
    /// Time and level for people.
    Terminal {
        /// Whether the level is coloured.
        colour: bool,
    },
}

/// One line for each event, whatever its fields hold.
#[derive(Debug)]
pub(super) struct Lines {
    form: Form,
}

impl Lines {
    pub(super) fn new(form: Form) -> Self {
        Self { form }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        start(&mut line, self.form, *event.metadata().level())?;
        let mut told = String::new();
        context.format_fields(Writer::new(&mut told), event)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                told.push(' ');
                told.push_str(fields);
            }
        }
        writeln!(line, "{}", text::clean(told, MAX_EVENT_CHARS))
    }
}

/// One line that is no event.
pub(super) fn line(form: Form, level: Level, text: &str) -> String {
    let mut line = String::new();
    // A string takes everything.
    let _written = start(&mut Writer::new(&mut line), form, level);
    line.push_str(text);
    line.push('\n');
    line
}

/// What stands before the text of a line.
fn start(line: &mut Writer<'_>, form: Form, level: Level) -> fmt::Result {
    match form {
        Form::Journal => write!(line, "<{}>", priority(level)),
        Form::Terminal { colour } => {
            SystemTime.format_time(line)?;
            if colour {
                write!(line, " \u{1b}[{}m{level:>5}\u{1b}[0m ", paint(level))
            } else {
                write!(line, " {level:>5} ")
            }
        }
    }
}

/// The syslog priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// The ANSI colour of a level: red, yellow, green, else dim.
fn paint(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing::Level;
    use tracing_subscriber::fmt::layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::{Form, Lines};

    /// A writer whose text can be read.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = layer()
            .event_format(Lines::new(form))
            .with_ansi(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        let bytes = kept.0.lock().expect("lock").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let text = logged(Form::Journal, || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::info!(port = 80, "c");
            tracing::debug!("d");
        });

        assert_eq!(text, "<3>a\n<4>b\n<6>c port=80\n<7>d\n");
    }

    #[test]
    fn foreign_values_stay_on_their_line_and_off_the_terminal() {
        let hostile = "x\u{1b}[31m\n<3>forged \u{9b}2J\u{202e}";

        for form in [Form::Journal, Form::Terminal { colour: false }] {
            let text = logged(form, || {
                let _span = tracing::info_span!("s", name = %hostile).entered();
                tracing::info!(shown = %hostile, debugged = ?hostile, "seen {hostile}");
            });

            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(!text.trim_end().chars().any(crate::text::is_hostile), "{text:?}");
            assert!(text.contains("forged"), "{text:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_event_looks_like_one() {
        assert_eq!(super::line(Form::Journal, Level::WARN, "b"), "<4>b\n");
        let text = super::line(Form::Terminal { colour: false }, Level::WARN, "b");
        assert!(text.ends_with("  WARN b\n"), "{text:?}");
    }

    #[test]
    fn the_level_alone_is_coloured() {
        let text = logged(Form::Terminal { colour: true }, || tracing::warn!("b"));

        assert!(text.contains(" \u{1b}[33m WARN\u{1b}[0m b\n"), "{text:?}");
    }
}
