//! Problems of a configuration: where, what, and what would be right; all of them at once.
//!
//! The printed form is the one of rustc: a headline, the place as `file:line:column`, the source line with carets under
//! the part that is wrong, the path inside the document, and help.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::num::NonZeroU32;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthChar;

/// Whether a problem stops the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is applied.
    Error,
    /// Applied, but probably not what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A stretch of one source line, counted from 1 in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// Characters that carets go under, at least 1; what leaves the line is not drawn.
    pub length: u32,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops the configuration.
    pub severity: Severity,
    /// Where in the text; `None` when there is no text or the text lacks the place.
    pub at: Option<Position>,
    /// Where in the document: `functions.shop.aliases.prod.split`. Keys with other characters than names have are
    /// quoted: `domains."shop.example.com"`. Empty: the whole document.
    pub path: String,
    /// What is wrong, one line.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// What kind of refusal of an edit it is, for programs; `None` for everything else that is wrong.
    pub code: Option<Code>,
}

/// Why an edit is refused, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The edit is about something that does not exist.
    NotFound,
    /// It is to be created, and it is there already.
    Exists,
    /// What is to be published is the newest version already.
    VersionUnchanged {
        /// That version.
        version: NonZeroU32,
    },
    /// Something still names what is to go; the message names every place.
    Referenced,
    /// A version never changes.
    Immutable,
    /// The number was given out before, and is never given out again.
    NumberUsed,
    /// The digest is not the one that was expected.
    DigestMismatch,
    /// `$DEFAULT` is always there.
    BuiltIn,
    /// There is nothing to go back to.
    NothingEarlier,
    /// The edit needs what a stored text holds that cannot be read.
    Unreadable,
}

impl Code {
    /// `NotFound`, `VersionUnchanged` …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::Exists => "Exists",
            Self::VersionUnchanged { .. } => "VersionUnchanged",
            Self::Referenced => "Referenced",
            Self::Immutable => "Immutable",
            Self::NumberUsed => "NumberUsed",
            Self::DigestMismatch => "DigestMismatch",
            Self::BuiltIn => "BuiltIn",
            Self::NothingEarlier => "NothingEarlier",
            Self::Unreadable => "Unreadable",
        }
    }
}

impl Problem {
    /// An error at a path of the document.
    #[must_use]
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, at: None, path: path.into(), message: message.into(), help: None, code: None }
    }

    /// A warning at a path of the document.
    #[must_use]
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, message) }
    }

    /// The same problem at this position.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self { at: Some(position), ..self }
    }

    /// The same problem with help.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same problem as a refusal of this kind.
    #[must_use]
    pub fn code(self, code: Code) -> Self {
        Self { code: Some(code), ..self }
    }

    /// `{severity, line, column, length, path, message, help, code}`; what is not known is left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "severity": self.severity.as_str(),
            "path": self.path,
            "message": self.message,
        });
        if let Some(at) = self.at {
            object["line"] = at.line.into();
            object["column"] = at.column.into();
            object["length"] = at.length.into();
        }
        if let Some(help) = &self.help {
            object["help"] = help.as_str().into();
        }
        if let Some(code) = self.code {
            object["code"] = code.as_str().into();
        }
        object
    }
}

/// One line without a text to show: `error: functions.shop: …`.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.severity.as_str())?;
        if !self.path.is_empty() {
            write!(f, "{}: ", visible(&self.path))?;
        }
        f.write_str(&visible(&self.message))?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({})", visible(help)))
    }
}

/// All problems with their source lines, in the order of the text, and how many there are. Empty without problems.
#[must_use]
pub fn render(problems: &[Problem], file_name: &str, text: &str) -> String {
    let lines = source_lines(text);
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| (problem.at.is_none(), problem.at));
    let mut out = String::new();
    for problem in &sorted {
        render_one(&mut out, problem, file_name, &lines);
    }
    if let Some(count) = count(problems) {
        let _ = writeln!(out, "{}: {count}", visible(file_name));
    }
    out
}

/// `2 errors, 1 warning`; `None` without problems.
fn count(problems: &[Problem]) -> Option<String> {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let plural = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let parts: Vec<_> =
        [plural(errors, "error"), plural(problems.len() - errors, "warning")].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn render_one(out: &mut String, problem: &Problem, file_name: &str, lines: &[&str]) {
    let _ = writeln!(out, "{}: {}", problem.severity.as_str(), visible(&problem.message));
    let gutter = problem.at.map_or(1, |at| at.line.to_string().len());
    let file_name = visible(file_name);
    match problem.at {
        Some(at) => {
            let _ = writeln!(out, "{:gutter$}--> {file_name}:{}:{}", "", at.line, at.column);
        }
        None => {
            let _ = writeln!(out, "{:gutter$}--> {file_name}", "");
        }
    }
    if let Some((at, line)) = problem.at.and_then(|at| Some((at, *lines.get(at.line as usize - 1)?))) {
        let (shown, carets) = excerpt(line, at);
        let _ = writeln!(out, "{:gutter$} |", "");
        let _ = writeln!(out, "{} | {shown}", at.line);
        let _ = writeln!(out, "{:gutter$} | {carets}", "");
    }
    if !problem.path.is_empty() {
        let _ = writeln!(out, "{:gutter$} = at: {}", "", visible(&problem.path));
    }
    if let Some(help) = &problem.help {
        let _ = writeln!(out, "{:gutter$} = help: {}", "", visible(help));
    }
    out.push('\n');
}

/// Lines as YAML counts them: ended by LF, CR LF or CR.
fn source_lines(text: &str) -> Vec<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect()
}

/// Terminal columns of a source line that are shown, at most.
const SHOWN_COLUMNS: usize = 110;
/// Terminal columns of context before the marked part when a line is cut.
const CONTEXT_COLUMNS: usize = 40;

/// The part of a line around a position, and carets under that position.
fn excerpt(line: &str, at: Position) -> (String, String) {
    let cells: Vec<(char, usize)> = line.chars().map(cell).collect();
    let start = (at.column as usize - 1).min(cells.len());
    let end = (start + at.length.max(1) as usize).min(cells.len()).max(start);
    let width = |from: usize, to: usize| cells[from..to].iter().map(|cell| cell.1).sum::<usize>();
    let (mut from, mut to) = (0, cells.len());
    if width(0, to) > SHOWN_COLUMNS || to > 4 * SHOWN_COLUMNS {
        while width(from, start) > CONTEXT_COLUMNS {
            from += 1;
        }
        to = from;
        let mut used = 0;
        while to < cells.len() && to - from < 4 * SHOWN_COLUMNS && used + cells[to].1 <= SHOWN_COLUMNS {
            used += cells[to].1;
            to += 1;
        }
    }
    let draw = |out: &mut String, from: usize, to: usize| {
        for (c, columns) in &cells[from..to] {
            if *c == '\t' { out.extend(std::iter::repeat_n(' ', *columns)) } else { out.push(*c) }
        }
    };
    let (before, after) = (if from > 0 { "… " } else { "" }, if to < cells.len() { " …" } else { "" });
    let mut shown = before.to_owned();
    draw(&mut shown, from, to);
    shown.push_str(after);
    let indent = width(from, start) + before.chars().count();
    let carets = width(start, end.min(to)).max(1);
    (shown, format!("{}{}", " ".repeat(indent), "^".repeat(carets)))
}

/// What is drawn for a character and how many columns it takes: a tab is 4 wide, whatever would move or hide text is
/// drawn as a sign.
fn cell(c: char) -> (char, usize) {
    let drawn = match c {
        '\t' => return ('\t', 4),
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        c if is_disturbing(c) => '\u{fffd}',
        c => c,
    };
    (drawn, drawn.width().unwrap_or(1))
}

/// Characters that reorder or hide what stands around them, or are no text.
fn is_disturbing(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{61c}')
}

/// `text` on one line with nothing in it that moves a terminal's cursor.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { cell(c).0 }).collect()
}

/// The candidate that `word` is most likely a misspelling of, if any is near enough to be worth saying.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |text: &str| text.to_lowercase().replace('-', "_");
    let word_folded = folded(word);
    let allowed = (word.chars().count() / 3).max(1);
    let scored = candidates.into_iter().filter(|candidate| *candidate != word).filter_map(|candidate| {
        let candidate_folded = folded(candidate);
        let distance = strsim::damerau_levenshtein(&word_folded, &candidate_folded);
        let contained = candidate.len() >= 4 && (word_folded.contains(&candidate_folded))
            || word.len() >= 4 && candidate_folded.contains(&word_folded);
        (distance <= allowed || contained).then_some((distance, candidate))
    });
    scored.min().map(|(_, candidate)| candidate)
}

/// Paths of things that could not be read, so that references to them are not reported as well.
pub(crate) type Broken = HashSet<String>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(line: u32, column: u32, length: u32) -> Position {
        Position { line, column, length }
    }

    #[test]
    fn looks_like_a_compiler_error() {
        let problems = [
            Problem::warning("", "the sum is 99"),
            Problem::error("aliases.prod.3", "version 3 does not exist").at(at(2, 18, 1)).help("there are 1 and 2"),
        ];
        let expected = "\
error: version 3 does not exist
 --> weir.yaml:2:18
  |
2 |   prod: {1: 95, 3: 5}
  |                  ^
  = at: aliases.prod.3
  = help: there are 1 and 2

warning: the sum is 99
 --> weir.yaml

weir.yaml: 1 error, 1 warning
";
        assert_eq!(render(&problems, "weir.yaml", "aliases:\n  prod: {1: 95, 3: 5}\n"), expected);
        assert_eq!(render(&[], "weir.yaml", ""), "");
    }

    #[test]
    fn carets_stand_under_tabs_and_wide_characters() {
        assert_eq!(excerpt("\ta: b", at(1, 5, 1)), ("    a: b".into(), "       ^".into()));
        assert_eq!(excerpt("名: 値段", at(1, 4, 2)), ("名: 値段".into(), "    ^^^^".into()));
        assert_eq!(excerpt("a\u{1b}[2Jb", at(1, 6, 1)), ("a␛[2Jb".into(), "     ^".into()));
        assert_eq!(excerpt("a\u{202e}b", at(1, 3, 1)).0, "a\u{fffd}b");
        assert_eq!(excerpt("ab", at(1, 3, 4)), ("ab".into(), "  ^".into()));
    }

    #[test]
    fn long_lines_are_cut_around_the_position() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let (shown, carets) = excerpt(&line, at(1, 501, 1));
        assert!(shown.starts_with("… aaa") && shown.ends_with("bbb …"), "{shown}");
        assert_eq!(shown.chars().position(|c| c == 'X'), Some(carets.len() - 1));
    }

    proptest! {
        #[test]
        fn any_text_renders_on_its_lines(line in "\\PC{0,200}|[\\x00-\\x1f\\u{202e}名a]{0,300}", column in 1u32..400, length in 0u32..400) {
            let line = line.replace(['\n', '\r'], " ");
            let out = render(&[Problem::error("p", "m").at(at(1, column, length))], "f", &line);
            prop_assert_eq!(out.lines().count(), 8, "{:?}", out);
            prop_assert!(!out.chars().any(|c| c.is_control() && c != '\n'));
            let columns = |line: &str| line.chars().map(|c| c.width().unwrap_or(1)).sum::<usize>();
            prop_assert!(out.lines().all(|line| columns(line) <= SHOWN_COLUMNS + 10));
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["functions", "domains", "stages", "certificate", "dingtalk"];
        assert_eq!(nearest("function", names), Some("functions"));
        assert_eq!(nearest("domians", names), Some("domains"));
        assert_eq!(nearest("dingTalkRobot", names), Some("dingtalk"));
        assert_eq!(nearest("cert", names), Some("certificate"));
        assert_eq!(nearest("upstreams", names), None);
        assert_eq!(nearest("x", ["y"]), Some("y"));
        assert_eq!(nearest("", names), None);
    }
}
