//! How a route changes the path on its way to the endpoint.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::{MAX_PATTERN, PathError, PathPattern, Segment, is_plain, parameter, spell};
use crate::value::rule::Pattern;

/// How the path changes on its way to the endpoint. Query, scheme and host never change here.
///
/// `/app/*` puts what the route's `*` matched; `{name}` puts a parameter; `$1` puts the first, `$2` the second parameter
/// or wildcard by position, as Alibaba FC writes it. A regular expression replaces its first match in the path, `$1` or
/// `${name}` being its groups.
#[derive(Clone, PartialEq)]
pub struct Rewrite(Arc<Kind>);

#[derive(PartialEq)]
enum Kind {
    Text { source: Box<str>, pieces: Box<[Piece]> },
    Regex { pattern: Pattern, replacement: Box<str>, expanded: Box<str> },
}

/// A part of a rewritten path.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// The segment of the path at this place, from 0.
    Segment(usize),
    /// Everything from the segment at this place on.
    Rest(usize),
}

/// How a rewrite was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteForm<'a> {
    /// `/app/*`.
    Text(&'a str),
    /// `{regex: "^/api/(.*)", to: "/v2/$1"}`.
    Regex {
        /// The source of the expression.
        pattern: &'a str,
        /// What replaces its first match.
        replacement: &'a str,
    },
}

impl Rewrite {
    /// Reads the text form for a route with this pattern.
    ///
    /// # Errors
    /// A text that is no path, or a reference to what the pattern does not have.
    pub fn parse(text: &str, pattern: &PathPattern) -> Result<Self, PathError> {
        if !text.starts_with('/') {
            return Err(PathError::Slash(text.to_owned()));
        }
        if text.len() > MAX_PATTERN {
            return Err(PathError::Length);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['*', '{', '}', '$']) {
            let (before, from) = rest.split_at(at);
            push_literal(&mut pieces, before)?;
            let (piece, length) = reference(from, pattern)?;
            match piece {
                Some(piece) => pieces.push(piece),
                None => push_literal(&mut pieces, &from[..length])?,
            }
            rest = &from[length..];
        }
        push_literal(&mut pieces, rest)?;
        let filled: String = pieces.iter().map(|p| if let Piece::Literal(text) = p { text } else { "x" }).collect();
        if !is_plain(&filled) {
            return Err(PathError::Dots);
        }
        Ok(Self(Arc::new(Kind::Text { source: text.into(), pieces: pieces.into() })))
    }

    /// Replaces the first match of a regular expression; a path that it does not match stays as it is.
    ///
    /// # Errors
    /// An expression that does not compile, a group that it does not have, or a replacement with `?` or `#`.
    pub fn regex(pattern: &str, replacement: &str) -> Result<Self, PathError> {
        let pattern = Pattern::new(pattern).map_err(|problem| PathError::Regex(problem.to_string()))?;
        if let Some(c) = replacement.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(PathError::Query(c));
        }
        let expanded = expand(replacement, pattern.regex())?.into();
        Ok(Self(Arc::new(Kind::Regex { pattern, replacement: replacement.into(), expanded })))
    }

    /// The rewritten path; `path` is one that the route's pattern takes, without query.
    ///
    /// `None` when the result is no path that may be sent: it does not start with `/`, or what was put together gives a
    /// `.` or `..` segment. The request is then refused.
    #[must_use]
    pub fn apply(&self, path: &str) -> Option<String> {
        let rewritten = match &*self.0 {
            Kind::Text { pieces, .. } => fill(pieces, path),
            Kind::Regex { pattern, expanded, .. } => pattern.regex().replace(path, &**expanded).into_owned(),
        };
        is_plain(&rewritten).then_some(rewritten)
    }

    /// As it was written.
    #[must_use]
    pub fn form(&self) -> RewriteForm<'_> {
        match &*self.0 {
            Kind::Text { source, .. } => RewriteForm::Text(source),
            Kind::Regex { pattern, replacement, .. } => RewriteForm::Regex { pattern: pattern.as_str(), replacement },
        }
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form() {
            RewriteForm::Text(text) => f.write_str(text),
            RewriteForm::Regex { pattern, replacement } => write!(f, "regex {pattern} to {replacement}"),
        }
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.form())
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) -> Result<(), PathError> {
    let mut spelled = String::new();
    spell(text, &mut spelled)?;
    if !spelled.is_empty() {
        pieces.push(Piece::Literal(spelled.into()));
    }
    Ok(())
}

/// What the reference at the start of `from` stands for, and its length; no piece for a `$` that stands for itself.
fn reference(from: &str, pattern: &PathPattern) -> Result<(Option<Piece>, usize), PathError> {
    let taken = |place: usize| match pattern.segments().nth(place) {
        Some(Segment::Wildcard) => Piece::Rest(place),
        _ => Piece::Segment(place),
    };
    let (length, place) = match from.as_bytes()[0] {
        b'*' => (1, pattern.segments().position(|s| s == Segment::Wildcard)),
        b'$' => {
            let digits = from[1..].bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return Ok((None, 1));
            }
            let number: usize = from[1..=digits].parse().unwrap_or(usize::MAX);
            let mut places = pattern.segments().enumerate().filter(|(_, s)| !matches!(s, Segment::Literal(_)));
            let place = number.checked_sub(1).and_then(|n| places.nth(n)).map(|(place, _)| place);
            (1 + digits, place)
        }
        _ => {
            let length = from.find('}').map_or(from.len(), |end| end + 1);
            let name = parameter(&from[..length]).ok_or_else(|| PathError::Parameter(from[..length].to_owned()))?;
            (length, pattern.segments().position(|s| s == Segment::Parameter(name)))
        }
    };
    match place {
        Some(place) => Ok((Some(taken(place)), length)),
        None => Err(PathError::Reference {
            pattern: pattern.to_string(),
            reference: from[..length].to_owned(),
            help: offer(pattern),
        }),
    }
}

/// What a rewrite could refer to.
fn offer(pattern: &PathPattern) -> String {
    let names: Vec<String> = pattern
        .segments()
        .filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) => Some(format!("`{{{name}}}`")),
            Segment::Wildcard => Some("`*`".to_owned()),
        })
        .collect();
    if names.is_empty() { String::new() } else { format!("; it has {}", names.join(", ")) }
}

fn fill(pieces: &[Piece], path: &str) -> String {
    let below = path.strip_prefix('/').unwrap_or(path);
    let mut filled = String::with_capacity(path.len() + 16);
    for piece in pieces {
        match piece {
            Piece::Literal(text) => filled.push_str(text),
            Piece::Segment(place) => filled.push_str(below.split('/').nth(*place).unwrap_or_default()),
            Piece::Rest(place) => filled.push_str(below.splitn(place + 1, '/').nth(*place).unwrap_or_default()),
        }
    }
    // `/prefix` keeps having no slash at its end, as `/prefix/` keeps having one.
    let bare = |place: usize| below.split('/').count() <= place;
    if matches!(pieces.last(), Some(Piece::Rest(place)) if bare(*place)) && filled.len() > 1 && filled.ends_with('/') {
        filled.pop();
    }
    filled
}

/// The replacement in the notation of the `regex` crate, where `$1a` would be a group named `1a`.
fn expand(replacement: &str, regex: &Regex) -> Result<String, PathError> {
    let mut expanded = String::new();
    let mut rest = replacement;
    let check = |name: &str| match name.parse::<usize>() {
        Ok(number) if number < regex.captures_len() => Ok(()),
        Err(_) if regex.capture_names().flatten().any(|n| n == name) => Ok(()),
        _ => Err(PathError::Regex(format!("the expression has no group `{name}`"))),
    };
    while let Some(at) = rest.find('$') {
        spell(&rest[..at], &mut expanded)?;
        let after = &rest[at + 1..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        if let Some((name, after)) = braced {
            check(name)?;
            expanded.push_str(&format!("${{{name}}}"));
            rest = after;
        } else if digits > 0 {
            check(&after[..digits])?;
            expanded.push_str(&format!("${{{}}}", &after[..digits]));
            rest = &after[digits..];
        } else {
            expanded.push_str("$$");
            rest = after;
        }
    }
    spell(rest, &mut expanded)?;
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(pattern: &str, text: &str) -> Result<Rewrite, PathError> {
        Rewrite::parse(text, &pattern.parse().unwrap())
    }

    #[test]
    fn what_was_matched_is_put_in() {
        for (pattern, text, path, rewritten) in [
            ("/*", "/app/*", "/", "/app/"),
            ("/*", "/app/*", "/a/b", "/app/a/b"),
            ("/api/*", "/*", "/api/x//y", "/x//y"),
            ("/api/*", "/*", "/api/", "/"),
            ("/api/*", "/*", "/api", "/"),
            ("/api/*", "/v2/*", "/api", "/v2"),
            ("/api/*", "/v2/*", "/api/", "/v2/"),
            ("/api/*", "/v2/$1", "/api/a%2Fb/", "/v2/a%2Fb/"),
            ("/api/*", "/v2", "/api/x", "/v2"),
            ("/u/{id}/*", "/users-{id}/*", "/u/7/a/b", "/users-7/a/b"),
            ("/u/{id}/p/{post}", "/$2/of/$1x", "/u/7/p/9", "/9/of/7x"),
            ("/*", "/$/*", "/a", "/$/a"),
            ("/*", "/café/*", "/a", "/caf%C3%A9/a"),
        ] {
            assert_eq!(rewrite(pattern, text).unwrap().apply(path).as_deref(), Some(rewritten), "{text} of {path}");
        }
    }

    #[test]
    fn regular_expressions_replace_their_first_match() {
        for (pattern, to, path, rewritten) in [
            ("^/api/.+?/(.*)", "/api/v2/$1", "/api/v1/users", "/api/v2/users"),
            ("^/api/.+?/(.*)", "/api/v2/$1", "/other", "/other"),
            ("^/(a+)", "/$1b", "/aaa/x", "/aaab/x"),
            ("^/(?<name>[^/]+)", "/${name}-$$0", "/a/b", "/a-$/a/b"),
        ] {
            let rewrite = Rewrite::regex(pattern, to).unwrap();
            assert_eq!(rewrite.apply(path).as_deref(), Some(rewritten), "{pattern} of {path}");
            assert_eq!(rewrite.form(), RewriteForm::Regex { pattern, replacement: to });
        }
    }

    #[test]
    fn no_rewrite_makes_a_dot_segment_or_leaves_the_root() {
        assert_eq!(rewrite("/a/{x}/*", "/.*").unwrap().apply("/a/1/./b"), None);
        assert_eq!(rewrite("/*", "/a/.*").unwrap().apply("/"), None);
        assert_eq!(Rewrite::regex("^/", "$0").unwrap().apply("/a").as_deref(), Some("/a"));
        assert_eq!(Rewrite::regex("^/", "").unwrap().apply("/a"), None);
        assert_eq!(Rewrite::regex("x", "").unwrap().apply("/.x./a"), None);
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (pattern, text, message) in [
            ("/*", "app/*", "a path starts with `/`: write `/app/*`"),
            ("/a", "/b/*", "the path `/a` has no `*`"),
            ("/u/{id}/*", "/{name}", "the path `/u/{id}/*` has no `{name}`; it has `{id}`, `*`"),
            ("/u/{id}", "/$2", "the path `/u/{id}` has no `$2`; it has `{id}`"),
            ("/u/{id}", "/$0", "the path `/u/{id}` has no `$0`; it has `{id}`"),
            ("/u/{id}", "/{id", "a parameter is a whole segment `{name}` of letters, digits and `_`; `{id` is not"),
            ("/u/{id}", "/id}", "a parameter is a whole segment `{name}` of letters, digits and `_`; `}` is not"),
            ("/*", "/a?x=*", "a path has no `?`: routes and rewrites see neither query nor fragment"),
            ("/*", "/../*", "no path has a `.` or `..` segment: requests with one are refused"),
        ] {
            assert_eq!(rewrite(pattern, text).unwrap_err().to_string(), message, "{text}");
        }
        assert_eq!(Rewrite::regex("a", "/$1").unwrap_err().to_string(), "the expression has no group `1`");
        assert!(matches!(Rewrite::regex("(", "/"), Err(PathError::Regex(_))));
    }
}
