//! When a window of the week is open.

use super::Moment;
use crate::model::Window;
use std::time::Duration;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

impl Window {
    /// The first moment from `now` on at which one of the windows is open: `now` itself when one is. `None` when none ever is.
    #[must_use]
    pub fn next(windows: &[Self], now: Moment) -> Option<Moment> {
        windows.iter().filter_map(|window| window.opens(now)).min()
    }

    fn opens(&self, now: Moment) -> Option<Moment> {
        let today = now.as_secs() / DAY;
        // Eight days: today's may be over.
        (today..today + 8).find_map(|day| {
            // 1970-01-01 was a Thursday, and Monday is first.
            if !self.days[((day + 3) % 7) as usize] {
                return None;
            }
            let at = |minutes: u16| Duration::from_secs(day * DAY + u64::from(minutes) * MINUTE);
            (now < at(self.to)).then(|| now.max(at(self.from)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_open_on_their_days() {
        let work = Window { days: [true, true, true, true, true, false, false], from: 9 * 60, to: 17 * 60 };
        // 2026-11-20 is a Friday, 20777 days after 1970-01-01.
        let at = |day: u64, minutes: u64| Duration::from_secs((20_777 + day) * DAY + minutes * MINUTE);
        let next = |now| Window::next(&[work], now).unwrap();
        assert_eq!(next(at(0, 8 * 60)), at(0, 9 * 60));
        assert_eq!(next(at(0, 12 * 60)), at(0, 12 * 60), "it is open");
        assert_eq!(next(at(0, 17 * 60)), at(3, 9 * 60), "the next one is on Monday");
        let never = Window { days: [false; 7], ..work };
        assert_eq!(Window::next(&[never], at(0, 0)), None);
        let night = Window { days: [false, false, false, false, false, true, false], from: 0, to: 1440 };
        assert_eq!(Window::next(&[work, night], at(0, 18 * 60)), Some(at(1, 0)), "the first of several");
    }
}
