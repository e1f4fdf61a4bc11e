//! The field `Date` of answers that came without one (RFC 9110, section 6.6.1), written once a second.

use std::cell::{Cell, RefCell};

use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use crate::clock;

/// IMF-fixdate (RFC 9110, section 5.6.7).
const FORMAT: &[FormatItem<'static>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The line of this second.
#[derive(Debug, Default)]
pub(super) struct DateLine {
    second: Cell<u64>,
    line: RefCell<String>,
}

impl DateLine {
    /// Writes the line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let now = clock::unix().as_secs();
        if self.second.replace(now) != now || self.line.borrow().is_empty() {
            *self.line.borrow_mut() = line_of(now);
        }
        out.extend_from_slice(self.line.borrow().as_bytes());
    }
}

/// The whole line; empty if the clock stands where no date is.
fn line_of(second: u64) -> String {
    let time = i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    let date = time.and_then(|time| time.format(FORMAT).ok());
    date.map_or_else(String::new, |date| format!("date: {date}\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_rfc_9110_writes_them() {
        assert_eq!(line_of(784_111_777), "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(line_of(u64::MAX), "");
        let (line, mut out) = (DateLine::default(), Vec::new());
        line.write(&mut out);
        line.write(&mut out);
        assert_eq!(out.len(), 2 * "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len());
    }
}
