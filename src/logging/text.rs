//! The text format of log lines. Lines about requests are formatted here, exactly as `tracing_subscriber` formats them,
//! in half of the time.

use super::lines::is_of_request;
use std::fmt::{self, Debug};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The formatter of an event as one line of text.
#[derive(Default)]
pub struct Text {
    full: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if !is_of_request(event.metadata()) || context.lookup_current().is_some() {
            return self.full.format_event(context, line, event);
        }
        SystemTime.format_time(&mut line)?;
        write!(line, "  INFO {}:", event.metadata().target())?;
        let mut fields = Fields { line, written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        fields.line.write_char('\n')
    }
}

struct Fields<'a> {
    line: Writer<'a>,
    written: fmt::Result,
}

impl Fields<'_> {
    fn name(&mut self, field: &Field) -> fmt::Result {
        self.line.write_char(' ')?;
        if field.name() == "message" {
            return Ok(());
        }
        self.line.write_str(field.name())?;
        self.line.write_char('=')
    }

    fn value(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.written.is_ok() {
            self.written = self.name(field).and_then(|()| write(&mut self.line));
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.value(field, |line| write!(line, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
        self.value(field, |line| {
            if !is_plain {
                return write!(line, "{value:?}");
            }
            line.write_char('"')?;
            line.write_str(value)?;
            line.write_char('"')
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Text;
    use crate::config::LogFormat;
    use crate::logging::lines::Lines;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::SubscriberBuilder;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that `emit` logs, without their times, in this module's format or the library's.
    fn lines(is_ours: bool, emit: impl Fn()) -> Vec<String> {
        let written = Written::default();
        let lines = Lines::new(written.clone(), LogFormat::Text);
        let builder = SubscriberBuilder::default().with_writer(lines.clone()).with_ansi(false);
        if is_ours {
            tracing::subscriber::with_default(builder.event_format(Text::default()).finish(), &emit);
        } else {
            tracing::subscriber::with_default(builder.finish(), &emit);
        }
        lines.flush();
        let text = String::from_utf8(written.0.lock().expect("not poisoned").clone()).expect("text");
        let untimed = |line: &str| line.split_once(' ').map(|(_, rest)| rest.to_owned()).expect("a time");
        text.lines().map(untimed).collect()
    }

    #[test]
    fn a_line_about_a_request_is_formatted_as_the_library_does() {
        let emit = || {
            let key = "a \"key\" \\ \u{1b}[31m\u{7f}\n é";
            tracing::info!(target: "request", id = %"0A", operation = "GetObject", key, status = 200_u16, "request");
            tracing::info!(target: "request", error = "", path = %key, bytes = u64::MAX, what = ?Some(key), "request");
            tracing::info!(target: "access", key, "access denied");
            tracing::warn!(target: "request", key, "of another level");
            let span = tracing::info_span!("somewhere", number = 1);
            span.in_scope(|| tracing::info!(target: "request", key, "within"));
        };
        let ours = lines(true, emit);
        assert_eq!(ours, lines(false, emit));
        assert_eq!(ours.len(), 5, "a line each: {ours:?}");
        assert!(ours[0].contains(r#"INFO request: request id=0A operation="GetObject" key="a \"key\""#), "{}", ours[0]);
    }
}
