//! What the gateway says about itself: diagnostics on standard error, and one access-log line per request.
//!
//! Both are told things and decide nothing, and no request waits for their readers. Diagnostics are `tracing` events;
//! pingora's `log` records join them through a bridge that lets only a few lines per second of pingora through, because it
//! writes one for every failed request.

pub mod access;
mod diagnostics;
pub mod end;
mod escape;
pub mod line;
mod outlet;
mod throttle;

use std::io::IsTerminal;
use std::time::Duration;

use tracing_log::AsLog;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;

pub use access::{AccessLog, AccessThread};
pub use diagnostics::Diagnostics;
pub use end::EndReason;
pub use line::{AccessLine, Resolved};
pub use outlet::Outlet;
pub use throttle::LineRate;

use diagnostics::Shape;
use throttle::Throttled;

/// What is shown when neither `--log` nor `RUST_LOG` says otherwise.
pub const DEFAULT_FILTER: &str = "info,pingora=warn";

/// The form of diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines: one object per line.
    Json,
}

/// Why diagnostics did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter cannot be read.
    #[error("log filter `{filter}`: {cause}; write it like `info` or `info,gateway::edge=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        cause: ParseError,
    },
    /// Their thread cannot be started.
    #[error("diagnostics cannot start: {0}")]
    Thread(#[from] std::io::Error),
    /// Somebody has set a subscriber or a logger before.
    #[error("diagnostics were started twice")]
    Twice,
}

/// Starts diagnostics for the whole process: once, in `main`. `filter` is in the syntax of `RUST_LOG`. `now` is the time
/// since any fixed moment, for throttling. Panics become diagnostics too, because Rust's own message waits for a reader.
///
/// # Errors
/// A filter that cannot be read, no thread, or a second start.
pub fn start(filter: &str, format: Format, now: fn() -> Duration) -> Result<Diagnostics, StartError> {
    let parsed = EnvFilter::builder().parse(filter);
    let parsed = parsed.map_err(|cause| StartError::Filter { filter: filter.to_owned(), cause })?;
    let level = parsed.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let terminal = std::io::stderr().is_terminal();
    let diagnostics = Diagnostics::start(std::io::stderr())?;
    let registry = tracing_subscriber::registry().with(parsed);
    let set = if format == Format::Json || (format == Format::Auto && !terminal) {
        let layer = fmt::layer().json().flatten_event(true).with_writer(diagnostics.shaped(Shape::Json));
        tracing::subscriber::set_global_default(registry.with(layer))
    } else {
        let shape = Shape::Text { colours: terminal };
        let layer = fmt::layer().with_ansi(terminal).with_writer(diagnostics.shaped(shape));
        tracing::subscriber::set_global_default(registry.with(layer))
    };
    set.map_err(|_| StartError::Twice)?;
    let bridge = Throttled::new(tracing_log::LogTracer::new(), now);
    ::log::set_boxed_logger(Box::new(bridge)).map_err(|_| StartError::Twice)?;
    ::log::set_max_level(level.as_log());
    diagnostics::take_panics();
    Ok(diagnostics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let error = start("info,gateway=loud", Format::Auto, || Duration::ZERO).err().unwrap().to_string();
        assert!(error.starts_with("log filter `info,gateway=loud`: ") && error.contains("write it like"), "{error}");
    }
}
