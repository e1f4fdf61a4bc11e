//! Texts that hold `${NAME}`: environment variables, resolved while parsing, and stage variables, resolved per stage.
//!
//! `${NAME}` reads the environment and `${stageVariables.NAME}` a variable of the stage that a request came through
//! (the spelling of Amazon API Gateway). `$${` stands for a literal `${`. The source is kept, so that a secret is
//! printed back as `${NAME}` and never as its value.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// One parsed text with its variables. `Default` is the empty text. Two are equal that say and mean the same.
#[derive(Clone, Default)]
pub struct Template {
    source: Arc<str>,
    parts: Arc<[Part]>,
    /// The names of the environment whose values were put in.
    names: Arc<[Arc<str>]>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    /// Text as it stands, environment variables already put in.
    Literal(Arc<str>),
    /// The name of a stage variable.
    StageVariable(Arc<str>),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `${` without its `}`.
    #[error("`${{` without a closing `}}`; write `$${{` for a literal `${{`")]
    Unclosed,
    /// `${}` or a name with characters that variables do not have.
    #[error(
        "`${{{0}}}` is no variable: write `${{NAME}}` for the environment or `${{stageVariables.NAME}}` for a stage variable"
    )]
    Name(String),
    /// The environment has no such variable.
    #[error("the environment variable `{0}` is not set")]
    Missing(String),
}

impl Template {
    /// Reads `source`; `env` answers for the environment.
    ///
    /// # Errors
    /// An unclosed `${`, a name that is none, or a variable that is not set.
    pub fn parse(source: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, TemplateError> {
        if !source.contains('$') {
            // Most texts: source and value are one.
            let source: Arc<str> = source.into();
            let literal = (!source.is_empty()).then(|| Part::Literal(Arc::clone(&source)));
            return Ok(Self { source, parts: literal.into_iter().collect(), names: Arc::default() });
        }
        let (mut parts, mut names) = (Vec::new(), Vec::new());
        let mut literal = String::new();
        let mut rest = source;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$${") {
                literal.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                if let Some(variable) = name.strip_prefix("stageVariables.").filter(|v| is_variable(v)) {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    }
                    parts.push(Part::StageVariable(variable.into()));
                } else if is_variable(name) {
                    literal.push_str(&env(name).ok_or_else(|| TemplateError::Missing(name.to_owned()))?);
                    names.push(name.into());
                } else {
                    return Err(TemplateError::Name(name.to_owned()));
                }
                rest = after;
            } else {
                literal.push('$');
                rest = &rest[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self { source: source.into(), parts: parts.into(), names: names.into() })
    }

    /// The same text, a part of which came from `other`: with the names of its environment too.
    #[must_use]
    pub(crate) fn partly(self, other: &Self) -> Self {
        if other.names.is_empty() {
            return self;
        }
        Self { names: self.names.iter().chain(&*other.names).cloned().collect(), ..self }
    }

    /// The names of the environment whose values were put in; also those that the source does not show, because a text was
    /// taken apart after they were put in.
    pub fn environment(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// True if names of the environment stand for themselves: the text was read by [`unresolved`].
    pub(crate) fn is_unresolved(&self) -> bool {
        let stands =
            |name: &str| self.parts.iter().any(|part| matches!(part, Part::Literal(text) if text.contains(name)));
        self.environment().filter_map(unresolved).any(|name| stands(&name))
    }

    fn means(&self) -> (&Arc<str>, &Arc<[Part]>) {
        (&self.source, &self.parts)
    }

    /// The text as it was written, variables unresolved: safe to print.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, when it needs no stage variable.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of the stage variables that it needs.
    pub fn stage_variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::StageVariable(name) => Some(&**name),
            Part::Literal(_) => None,
        })
    }

    /// The text with these stage variables; `Err` names the first one that is missing.
    ///
    /// # Errors
    /// The name of the first stage variable that `variables` does not hold.
    pub fn render(&self, variables: &BTreeMap<String, String>) -> Result<String, &str> {
        let mut text = String::new();
        for part in &*self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::StageVariable(name) => text.push_str(variables.get(&**name).ok_or(&**name)?),
            }
        }
        Ok(text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.means() == other.means()
    }
}

impl Eq for Template {}

impl PartialOrd for Template {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Template {
    fn cmp(&self, other: &Self) -> Ordering {
        self.means().cmp(&other.means())
    }
}

impl Hash for Template {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.means().hash(state);
    }
}

/// An environment in which each name stands for itself: for texts that are only looked at, and must not show what is in the
/// environment, nor whether it is there.
#[must_use]
pub fn unresolved(name: &str) -> Option<String> {
    Some(format!("${{{name}}}"))
}

/// Whether `name` has the shape `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Shows the source: a secret's value never reaches a log by way of `{:?}`.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "s3cret".to_owned())
    }

    fn parse(source: &str) -> Result<Template, TemplateError> {
        Template::parse(source, &env)
    }

    #[test]
    fn environment_is_put_in_and_never_shown() {
        let token = parse("Bearer ${TOKEN}!").unwrap();
        assert_eq!(token.fixed(), Some("Bearer s3cret!"));
        assert_eq!(token.source(), "Bearer ${TOKEN}!");
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    #[test]
    fn stage_variables_wait_for_their_stage() {
        let host = parse("${stageVariables.region}.shop.internal").unwrap();
        assert_eq!(host.fixed(), None);
        assert_eq!(host.stage_variables().collect::<Vec<_>>(), ["region"]);
        assert_eq!(host.render(&BTreeMap::new()), Err("region"));
        let variables = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
        assert_eq!(host.render(&variables).as_deref(), Ok("eu.shop.internal"));
    }

    #[test]
    fn names_of_the_environment_are_known_and_change_no_meaning() {
        let token = parse("Bearer ${TOKEN}!").unwrap();
        assert_eq!(token.environment().collect::<Vec<_>>(), ["TOKEN"]);
        assert!(!token.is_unresolved());
        let open = Template::parse("a ${TOKEN} b", &unresolved).unwrap();
        assert_eq!(open.fixed(), Some("a ${TOKEN} b"));
        assert!(open.is_unresolved());
        let plain = parse("10.0.0.1").unwrap();
        let partly = plain.clone().partly(&token);
        assert_eq!(partly, plain);
        assert_eq!(partly.environment().collect::<Vec<_>>(), ["TOKEN"]);
    }

    #[test]
    fn plain_dollars_stay() {
        for (source, text) in [("", ""), ("$5", "$5"), ("a$", "a$"), ("$${TOKEN}", "${TOKEN}"), ("$$", "$$")] {
            assert_eq!(parse(source).unwrap().fixed(), Some(text), "{source}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse("a${TOKEN"), Err(TemplateError::Unclosed));
        assert_eq!(parse("${OTHER}"), Err(TemplateError::Missing("OTHER".into())));
        for bad in ["", "a-b", "1A", "stageVariables.", "stageVariables.a.b"] {
            assert_eq!(parse(&format!("${{{bad}}}")), Err(TemplateError::Name(bad.into())));
        }
    }
}
