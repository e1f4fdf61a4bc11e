//! Layers: what a running rollout puts over an alias.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Alias, Function, Shield};
use crate::value::name::{AliasName, RolloutId, VersionId};
use crate::value::weight::{Split, Weight};

/// The part of a running rollout that lies over an alias. Requests see the alias with its layer; the alias itself stays as its
/// operator set it, and is all there is once the layer is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The rollout.
    pub rollout: RolloutId,
    /// The version that has what the candidate does not.
    pub stable: VersionId,
    /// The version that is released.
    pub candidate: NonZeroU32,
    /// The weight of the candidate.
    pub weight: Weight,
    /// The failures of the candidate that stable answers; `None`: those that the alias says.
    pub shield: Option<Shield>,
    /// The name of the cohort; `None`: the one that the alias says.
    pub salt: Option<String>,
    /// True if the rollout gave the alias its own split, all to stable, which is the beginning of its episode.
    pub is_rebased: bool,
}

impl Layer {
    /// The split that requests see.
    #[must_use]
    pub fn split(&self) -> Split {
        let rest = Weight::new(Weight::WHOLE - self.weight.basis_points()).expect("a weight is at most the whole");
        let parts = [(self.stable, rest), (VersionId::Number(self.candidate), self.weight)];
        Split::new(parts).expect("two versions whose weights sum to the whole")
    }

    /// The alias as requests see it.
    #[must_use]
    pub fn over(&self, alias: &Alias) -> Alias {
        Alias {
            stable: Some(self.stable),
            shield: self.shield.unwrap_or(alias.shield),
            salt: self.salt.clone().or_else(|| alias.salt.clone()),
            ..alias.shifted(&self.split())
        }
    }
}

impl Function {
    /// The alias as requests see it: with its layer, if a rollout runs on it. `$DEFAULT` is there with the draft, even where
    /// nobody made it.
    #[must_use]
    pub fn effective(&self, name: &AliasName) -> Option<Arc<Alias>> {
        let own = self.own(name)?;
        Some(self.layers.get(name).map_or_else(|| Arc::clone(&own), |layer| Arc::new(layer.over(&own))))
    }

    /// The alias as its operator set it. `$DEFAULT` is there with the draft, even where nobody made it.
    #[must_use]
    pub fn own(&self, name: &AliasName) -> Option<Arc<Alias>> {
        let is_default = || self.draft.is_some() && *name == AliasName::default_alias() && !self.is_unread_alias(name);
        let default = || is_default().then(Alias::untouched_default);
        self.aliases.get(name).cloned().or_else(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FixedResponse, Target, Version};

    fn layer(weight: u16) -> Layer {
        Layer {
            rollout: RolloutId(7),
            stable: VersionId::number(1).unwrap(),
            candidate: NonZeroU32::new(2).unwrap(),
            weight: Weight::new(weight).unwrap(),
            shield: Some(Shield::Gateway),
            salt: None,
            is_rebased: false,
        }
    }

    #[test]
    fn requests_see_the_alias_with_its_layer() {
        let own = Alias { salt: Some("own".into()), ..Alias::new(Split::whole(VersionId::number(1).unwrap())) };
        let seen = layer(2_000).over(&own);
        assert_eq!(seen.split.to_string(), "1: 80, 2: 20");
        assert_eq!((seen.shield, seen.salt.as_deref()), (Shield::Gateway, Some("own")));
        assert_eq!(seen.joined, VersionId::number(2).unwrap(), "the cohort is the candidate's");
        let fields = Layer { shield: None, salt: Some("train".into()), ..layer(10_000) };
        let seen = fields.over(&own);
        assert_eq!((seen.shield, seen.salt.as_deref()), (Shield::Off, Some("train")));
        assert_eq!(seen.stable_version(), VersionId::number(2).unwrap(), "stable has nothing left");
    }

    #[test]
    fn callers_stay_from_step_to_step() {
        let own = Alias::new(Split::whole(VersionId::number(1).unwrap()));
        let holders = |weight| {
            let buckets = layer(weight).over(&own).buckets;
            (0..10_000).filter(|bucket| buckets.version(*bucket) == VersionId::number(2).unwrap()).collect::<Vec<_>>()
        };
        assert!(holders(500).iter().all(|bucket| holders(2_000).contains(bucket)));
    }

    #[test]
    fn the_default_alias_is_there_before_anybody_makes_it() {
        let version = Version::new(Target::Response(FixedResponse { status: 200, headers: vec![], body: "".into() }));
        let function = Function { draft: Some(Arc::new(version)), ..Function::default() };
        let name = AliasName::default_alias();
        assert_eq!(function.own(&name).unwrap().split, Split::whole(VersionId::Latest));
        assert!(function.own(&"prod".parse().unwrap()).is_none());
        assert!(Function::default().own(&name).is_none());
    }
}
