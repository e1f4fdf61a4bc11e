//! Names: parsed once, cheap to clone, and never wrong afterwards.
//!
//! Functions, aliases, stages, plans and notifiers are named by `[A-Za-z][A-Za-z0-9_-]{0,63}`. A version is a number
//! from 1, or `$LATEST`, the draft.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name, in characters (all of them ASCII).
pub const MAX_NAME: usize = 64;

/// Why a text is not a name. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, too long, or with a character that names do not have.
    #[error("a name is a letter followed by up to 63 letters, digits, `-` or `_`")]
    Shape,
    /// Zero, a sign, a leading zero, or beyond 4 294 967 295.
    #[error("a version is a whole number from 1, or $LATEST")]
    Version,
    /// No `r` before it, a sign, a leading zero.
    #[error("a rollout is `r` and its number, such as `r12`")]
    Rollout,
}

/// Whether `text` has the shape `[A-Za-z][A-Za-z0-9_-]{0,63}`.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident $(, $builtin:literal)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let builtin = false $(|| text == $builtin)?;
                if builtin || is_name(text) { Ok(Self(text.into())) } else { Err(NameError::Shape) }
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}

names! {
    /// Name of a function: the thing with a draft, versions and aliases.
    FunctionName;
    /// Name of an alias; `$DEFAULT` is the built-in one, used when no qualifier is named.
    AliasName, "$DEFAULT";
    /// Name of a stage (dev, prepub, release).
    StageName;
    /// Name of a plan.
    PlanName;
    /// Name of a notifier.
    NotifierName;
    /// Name of a token of the admin API.
    TokenName;
}

impl AliasName {
    /// `$DEFAULT`: points to `$LATEST` until changed; cannot be deleted.
    #[must_use]
    pub fn default_alias() -> Self {
        Self("$DEFAULT".into())
    }
}

/// Where a split, a rule or a route can point inside a function: a numbered version, or `$LATEST`, the draft.
///
/// Ordered by number; `$LATEST`, the next version to be, comes after every number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionId {
    /// A published version.
    Number(NonZeroU32),
    /// The draft.
    Latest,
}

impl VersionId {
    /// The draft, as it is written.
    pub const DRAFT: &'static str = "$LATEST";

    /// The version with this number; `None` for 0.
    #[must_use]
    pub fn number(n: u32) -> Option<Self> {
        NonZeroU32::new(n).map(Self::Number)
    }
}

impl FromStr for VersionId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == Self::DRAFT {
            return Ok(Self::Latest);
        }
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = if plain { text.parse().ok() } else { None };
        number.and_then(Self::number).ok_or(NameError::Version)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Latest => f.write_str(Self::DRAFT),
        }
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a route or a call names: a version, or an alias.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qualifier {
    /// A version number or `$LATEST`.
    Version(VersionId),
    /// An alias name or `$DEFAULT`.
    Alias(AliasName),
}

impl FromStr for Qualifier {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse::<VersionId>() {
            Ok(version) => Ok(Self::Version(version)),
            Err(_) if text.starts_with(|c: char| c.is_ascii_digit()) => Err(NameError::Version),
            Err(_) => text.parse().map(Self::Alias),
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Alias(alias) => alias.fmt(f),
        }
    }
}

/// Number of a rollout: the revision that began it. Shown as `r12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutId(pub u64);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl FromStr for RolloutId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = text.strip_prefix('r').and_then(|number| number.parse().ok());
        let id = number.map(Self).filter(|id| id.to_string() == text);
        id.ok_or(NameError::Rollout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_shape() {
        for good in ["a", "Shop", "shop-2_b", &"x".repeat(64)] {
            assert_eq!(good.parse::<FunctionName>().unwrap().as_str(), good);
        }
        for bad in ["", "2shop", "-shop", "shop.eu", "größe", "$DEFAULT", &"x".repeat(65)] {
            assert_eq!(bad.parse::<FunctionName>(), Err(NameError::Shape), "{bad}");
        }
        assert_eq!("$DEFAULT".parse(), Ok(AliasName::default_alias()));
    }

    #[test]
    fn versions_are_plain_numbers_from_one_or_latest() {
        assert_eq!("7".parse(), Ok(VersionId::number(7).unwrap()));
        assert_eq!("$LATEST".parse(), Ok(VersionId::Latest));
        for bad in ["0", "01", "+1", "-1", "1.0", "4294967296", "", "latest"] {
            assert_eq!(bad.parse::<VersionId>(), Err(NameError::Version), "{bad}");
        }
        assert!(VersionId::number(u32::MAX).unwrap() < VersionId::Latest);
    }

    #[test]
    fn a_qualifier_that_starts_with_a_digit_is_a_version() {
        assert_eq!("12".parse(), Ok(Qualifier::Version(VersionId::number(12).unwrap())));
        assert_eq!("prod".parse(), Ok(Qualifier::Alias("prod".parse().unwrap())));
        assert_eq!("$DEFAULT".parse(), Ok(Qualifier::Alias(AliasName::default_alias())));
        assert_eq!("1a".parse::<Qualifier>(), Err(NameError::Version));
        assert_eq!("$OTHER".parse::<Qualifier>(), Err(NameError::Shape));
    }
}
