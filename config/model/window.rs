//! The text form of a part of the week.

use std::fmt;
use std::str::FromStr;

use crate::model::Window;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Why a text is no window. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Neither days and times nor times.
    #[error("write days and times in UTC, such as `Mon-Fri 09:00-17:00`, or times for every day: `09:00-17:00`")]
    Shape,
    /// A day that is none.
    #[error("`{0}` is no day: write Mon, Tue, Wed, Thu, Fri, Sat or Sun, as in `Mon-Wed,Fri`")]
    Day(String),
    /// A time that is none.
    #[error("`{0}` is no time: write two digits each for hours and minutes, from 00:00 to 24:00")]
    Time(String),
    /// Ends at or before its start.
    #[error("a window ends after it starts; write one over midnight as two: `22:00-24:00` and `00:00-06:00`")]
    Order,
}

impl FromStr for Window {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        let (days, times) = match text.split_once(' ') {
            Some((days, times)) => (self::days(days)?, times),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => ([true; 7], text),
            None => return Err(WindowError::Shape),
        };
        let (from, to) = times.split_once('-').ok_or(WindowError::Shape)?;
        let window = Self { days, from: minutes(from)?, to: minutes(to)? };
        if window.from < window.to { Ok(window) } else { Err(WindowError::Order) }
    }
}

/// `Mon-Wed,Fri`; `Sat-Mon` goes over the end of the week.
fn days(text: &str) -> Result<[bool; 7], WindowError> {
    let day = |name: &str| {
        DAYS.iter().position(|day| *day == name).ok_or_else(|| WindowError::Day(name.chars().take(20).collect()))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Ok(days)
}

/// `09:00` to `24:00` in minutes after midnight.
fn minutes(text: &str) -> Result<u16, WindowError> {
    let wrong = || WindowError::Time(text.chars().take(20).collect());
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let (hours, minutes) = two(hours).zip(two(minutes)).ok_or_else(wrong)?;
    let time = hours * 60 + minutes;
    if minutes < 60 && time <= DAY { Ok(time) } else { Err(wrong()) }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut at = 0;
        while let Some(first) = (at..7).find(|day| self.days[*day]) {
            let end = (first..7).find(|day| !self.days[*day]).unwrap_or(7);
            match end - first {
                1 => write!(f, "{separator}{}", DAYS[first])?,
                2 => write!(f, "{separator}{},{}", DAYS[first], DAYS[first + 1])?,
                _ => write!(f, "{separator}{}-{}", DAYS[first], DAYS[end - 1])?,
            }
            (separator, at) = (",", end);
        }
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, " {}-{}", time(self.from), time(self.to))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Window>().unwrap().to_string()
    }

    #[test]
    fn windows_are_days_and_times() {
        assert_eq!(shown("Mon-Fri 09:00-17:00"), "Mon-Fri 09:00-17:00");
        assert_eq!(shown("09:00-17:00"), "Mon-Sun 09:00-17:00");
        assert_eq!(shown("Sat-Mon,Wed 00:00-24:00"), "Mon,Wed,Sat,Sun 00:00-24:00");
        let window: Window = "Sun 22:30-24:00".parse().unwrap();
        assert_eq!((window.days[6], window.days[0], window.from, window.to), (true, false, 1350, 1440));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| text.parse::<Window>().unwrap_err();
        assert_eq!(error("Mon-Fri"), WindowError::Shape);
        assert_eq!(error("Mon-Fri 09:00"), WindowError::Shape);
        assert_eq!(error("Mo 09:00-17:00"), WindowError::Day("Mo".into()));
        assert_eq!(error("mon 09:00-17:00"), WindowError::Day("mon".into()));
        assert_eq!(error(" 09:00-17:00"), WindowError::Day(String::new()));
        for time in ["9:00", "09:60", "24:01", "0900", "09:0é", ""] {
            assert_eq!(error(&format!("Mon {time}-24:00")), WindowError::Time(time.into()));
        }
        assert_eq!(error("22:00-02:00"), WindowError::Order);
        assert_eq!(error("09:00-09:00"), WindowError::Order);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(days in 1u8..128, from in 0u16..DAY, length in 1u16..=DAY) {
            let days = std::array::from_fn(|day| days & (1 << day) != 0);
            let window = Window { days, from, to: (from + length).min(DAY) };
            prop_assert_eq!(window.to_string().parse(), Ok(window));
        }
    }
}
