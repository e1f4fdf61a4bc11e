//! Bars of a rollout, drawn in place.

use config::text::problem::visible;

use crate::cli::rollout::{Rollout, SideSeen};
use crate::cli::table::or_dash;

/// Characters of a bar.
const BAR: usize = 20;
/// The longest line of a sentence.
const COLUMNS: usize = 78;
/// The frame is shown at once where the terminal can (mode 2026), and long lines do not wrap (mode 7): what is drawn has as
/// many lines as were written.
const BEGIN: &str = "\x1b[?2026h\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?2026l";

/// What stands on the terminal and is drawn over the next time.
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: usize,
}

impl Screen {
    /// Writes `above` where it stays, and `below` in place of what was below before.
    pub(super) fn frame(&mut self, above: &[String], below: &[String]) -> String {
        let mut frame = BEGIN.to_owned();
        if self.lines > 0 {
            frame += &format!("\x1b[{}A", self.lines);
        }
        frame.push('\r');
        for line in above.iter().chain(below) {
            frame += &format!("{line}\x1b[K\n");
        }
        self.lines = below.len();
        frame + "\x1b[J" + END
    }
}

/// The rollout as lines: where it stands, a bar for each version, what is known and what is waited for.
pub(super) fn bars(rollout: &Rollout) -> Vec<String> {
    let mut lines = vec![format!("{}  {}", rollout.id, rollout.standing())];
    for (place, member) in rollout.members.iter().enumerate() {
        let seen = rollout.seen.as_ref().and_then(|seen| seen.members.get(place));
        let all = seen.map_or(0, |seen| seen.stable.requests + seen.candidate.requests);
        let versions = member.stable.iter().chain([&member.candidate]);
        let width = versions.map(String::len).max().unwrap_or(0);
        let (name, first) = (member.name(), width + BAR + 4);
        lines.push(row(&name, first, ["ASKED", "GOT", "REQUESTS", "ERRORS", "P95"].map(str::to_owned)));
        let stable =
            member.stable.as_ref().map(|stable| (stable, 100.0 - rollout.weight, seen.map(|seen| &seen.stable)));
        let candidate = (&member.candidate, rollout.weight, seen.map(|seen| &seen.candidate));
        for (version, asked, side) in stable.into_iter().chain([candidate]) {
            let got = side.and_then(|side| part(side.requests, all));
            let bar = format!("  {version:<width$}  {}", bar(got.unwrap_or(asked)));
            lines.push(row(&bar, first, cells(asked, got, side)));
        }
        let silent = [("stable", seen.map(|seen| &seen.stable)), ("the candidate", seen.map(|seen| &seen.candidate))];
        let silent = silent.into_iter().filter_map(|(name, side)| Some(format!("{name}: {}", side?.silent()?)));
        lines.extend(silent.flat_map(|silent| wrapped("  ", &silent)));
        lines.extend(seen.iter().flat_map(|seen| wrapped("  ", &seen.verdict)));
    }
    lines.extend(rollout.waits_for.iter().flat_map(|waits| wrapped("", &format!("waits for {waits}"))));
    lines.iter().map(|line| visible(line)).collect()
}

fn row(name: &str, width: usize, [asked, got, requests, errors, p95]: [String; 5]) -> String {
    format!("{name:<width$}  {asked:>7}  {got:>8}  {requests:>8}  {errors:>8}  {p95:>10}")
}

fn cells(asked: f64, got: Option<f64>, side: Option<&SideSeen>) -> [String; 5] {
    let percent = |value: Option<f64>| or_dash(value.map(|value| format!("{value:.2} %")));
    [
        format!("{asked} %"),
        percent(got),
        or_dash(side.map(|side| side.requests)),
        percent(side.and_then(|side| part(side.failures, side.requests))),
        or_dash(side.and_then(|side| side.p95_ms).map(|p95| format!("{p95:.1} ms"))),
    ]
}

fn part(some: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| some as f64 * 100.0 / of as f64)
}

/// Lines that fit on most terminals, each with this before it.
fn wrapped(indent: &str, text: &str) -> Vec<String> {
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if line.chars().count() + word.chars().count() > COLUMNS && line.trim() != "" {
            lines.push(format!("{indent}{word} "));
        } else {
            *line += &format!("{word} ");
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// As full as `percent` of 100.
fn bar(percent: f64) -> String {
    let full = ((percent / 100.0 * BAR as f64).round() as usize).min(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::rollout::read;

    #[test]
    fn a_frame_draws_over_the_one_before_and_keeps_what_stands_above() {
        let mut screen = Screen::default();
        let line = |text: &str| vec![text.to_owned()];
        assert_eq!(screen.frame(&[], &line("a")), format!("{BEGIN}\ra\x1b[K\n\x1b[J{END}"));
        assert_eq!(
            screen.frame(&line("news"), &line("b")),
            format!("{BEGIN}\x1b[1A\rnews\x1b[K\nb\x1b[K\n\x1b[J{END}")
        );
        assert_eq!(screen.frame(&[], &[]), format!("{BEGIN}\x1b[1A\r\x1b[J{END}"));
    }

    #[test]
    fn bars_show_both_versions_and_what_is_waited_for() {
        let rollout = json!({
            "id": "r12", "by": "token:ci", "began": "2026-11-21T09:00:00.000Z", "over": false, "outcome": null, "why": null,
            "members": [{ "function": "shop", "alias": "prod", "stable": "9", "candidate": "10" }],
            "steps": [{ "weight": 40 }, { "weight": 80 }, { "weight": 100 }], "state": "waiting for gates", "step": 1,
            "weight": 40, "held_by": null, "left_seconds": 7.5, "waits_for": "an answer of its gates: no-worse: not yet, of 200 requests to the candidate none failed",
            "seen": { "gates": [], "members": [{ "verdict": "not yet: 90 more\u{1b}[2J", "word": "not yet", "evidence": {},
                "stable": { "requests": 600, "failures": 6, "p95_ms": 3.1 },
                "candidate": { "requests": 200, "failures": 0, "p95_ms": null } }] },
        });
        let expected = "\
r12  waiting for gates, step 1 of 3, 40 %, 7.5 s left
shop:prod                     ASKED       GOT  REQUESTS    ERRORS         P95
  9   ███████████████░░░░░     60 %   75.00 %       600    1.00 %      3.1 ms
  10  █████░░░░░░░░░░░░░░░     40 %   25.00 %       200    0.00 %           -
  not yet: 90 more␛[2J
waits for an answer of its gates: no-worse: not yet, of 200 requests to the
candidate none failed";
        assert_eq!(bars(&read(&rollout).unwrap()).join("\n"), expected);
    }
}
