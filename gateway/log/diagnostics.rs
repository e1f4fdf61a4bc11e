//! Diagnostics on their way to standard error: each event one line, without characters that could forge another, written
//! by a thread of its own.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::time::Duration;

use prometheus::IntCounter;

use super::Outlet;
use super::escape;

/// The diagnostics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Diagnostics(Outlet);

/// The form in which an event is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Json,
    Text { colours: bool },
}

impl Diagnostics {
    /// Starts the thread that writes to `out`.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        Outlet::start("standard error", out).map(Self)
    }

    /// The writer to which `tracing` writes events.
    pub(super) fn shaped(&self, shape: Shape) -> impl Fn() -> EventWriter + Send + Sync + 'static {
        let outlet = self.0.clone();
        move || EventWriter { outlet: outlet.clone(), shape }
    }

    /// Writes lines that are no events, each with its `\n`: why the gateway did not start, for example.
    pub fn say(&self, lines: &str) {
        self.0.write(lines.as_bytes());
    }

    /// Waits until everything is written, but not longer than `within`.
    pub fn flush(&self, within: Duration) {
        self.0.flush(within);
    }

    /// Counts lines that are lost in `counter`, those of the past included.
    pub fn count(&self, counter: &IntCounter) {
        self.0.count(counter);
    }
}

/// Takes one event with each call.
pub(super) struct EventWriter {
    outlet: Outlet,
    shape: Shape,
}

impl Write for EventWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = Vec::with_capacity(event.len());
        match self.shape {
            Shape::Json => escape::json_line(&mut line, text),
            Shape::Text { colours } => escape::text_line(&mut line, text, colours),
        }
        line.push(b'\n');
        self.outlet.write(&line);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes each panic an event, with a backtrace where `RUST_BACKTRACE` asks for one.
pub(super) fn take_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!("thread {thread} {panic}\n{backtrace}");
        } else {
            tracing::error!("thread {thread} {panic}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, pipe};

    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::log::escape::is_hidden;

    /// Names that a client, an endpoint or a file could choose, and a forged line.
    const HOSTILE: &str =
        "a\u{1b}[2J\u{7f}\u{9b}31m\u{85}\r\n{\"level\":\"INFO\"}\u{202e}\u{2028}\u{2066}\u{61c}\u{200f}";

    fn lines(shape: Shape, say: impl FnOnce()) -> Vec<String> {
        let (reader, writer) = pipe().unwrap();
        let diagnostics = Diagnostics::start(writer).unwrap();
        let registry = tracing_subscriber::registry();
        match shape {
            Shape::Json => {
                let layer = fmt::layer().json().flatten_event(true).with_writer(diagnostics.shaped(shape));
                tracing::subscriber::with_default(registry.with(layer), say);
            }
            Shape::Text { colours } => {
                let layer = fmt::layer().with_ansi(colours).with_writer(diagnostics.shaped(shape));
                tracing::subscriber::with_default(registry.with(layer), say);
            }
        }
        diagnostics.say("the end\n");
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        lines.take_while(|line| line != "the end").collect()
    }

    #[test]
    fn a_json_line_is_one_line_that_says_what_was_meant() {
        let lines = lines(Shape::Json, || tracing::warn!(host = HOSTILE, "refused {HOSTILE}"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!lines[0].chars().any(is_hidden), "{lines:?}");
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["host"], HOSTILE);
        assert_eq!(event["message"], format!("refused {HOSTILE}"));
    }

    #[test]
    fn a_line_for_people_forges_none() {
        for colours in [false, true] {
            let lines = lines(Shape::Text { colours }, || tracing::warn!(host = HOSTILE, "refused {HOSTILE}"));
            assert!(lines[1..].iter().all(|line| line.starts_with("    ")), "{lines:?}");
            // Colours are the formatter's own.
            let hidden = |character: char| is_hidden(character) && !(colours && character == '\x1b');
            assert!(!lines.concat().chars().any(hidden), "{lines:?}");
            assert!(!lines.concat().contains("\x1b[2J"), "{lines:?}");
        }
    }
}
