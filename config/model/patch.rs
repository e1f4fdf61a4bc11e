//! Changes of some fields of a resource.

use crate::model::{KeySource, OnMissingKey, OnUnhealthy, Rule, Selection, Shield};
use crate::value::name::{PlanName, VersionId};
use crate::value::weight::Split;

/// Some fields of an alias. `Default` changes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AliasPatch {
    /// Other weights; there is no default to go back to.
    pub split: Option<Split>,
    /// The sources of the routing key.
    pub key: Field<Vec<KeySource>>,
    /// The fate of a request without a routing key.
    pub on_missing_key: Field<OnMissingKey>,
    /// The way in which keyless requests are drawn.
    pub selection: Field<Selection>,
    /// The name of the cohort.
    pub salt: Field<String>,
    /// First hit wins.
    pub rules: Field<Vec<Rule>>,
    /// The answer when no endpoint of the chosen version is healthy.
    pub on_unhealthy: Field<OnUnhealthy>,
    /// The failures of a version that its spare answers instead.
    pub shield: Field<Shield>,
    /// The stable version.
    pub stable: Field<VersionId>,
    /// The plan of releases that name none.
    pub plan: Field<PlanName>,
    /// For people.
    pub description: Field<String>,
}

/// The word of a patch about one field.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Field<T> {
    /// Nothing.
    #[default]
    Keep,
    /// It gets its default.
    Reset,
    /// It gets this value.
    Set(T),
}

impl<T: Clone> Field<T> {
    /// The value after the patch.
    pub(crate) fn over(&self, now: T, default: T) -> T {
        match self {
            Self::Keep => now,
            Self::Reset => default,
            Self::Set(value) => value.clone(),
        }
    }

    /// Like [`over`](Self::over), of a field whose default is to be absent.
    pub(crate) fn over_option(&self, now: Option<T>) -> Option<T> {
        match self {
            Self::Keep => now,
            Self::Reset => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}
