//! Aliases, ready for drawing.

use std::cmp::Reverse;
use std::sync::{Arc, Weak};

use imbl::OrdMap;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::{FunctionIndex, UpstreamIndex};
use crate::model::{self, OnUnhealthy, Selection, Shield};
use crate::route::slot::{Owed, SlotSequence, Slots};
use crate::value::bucket;
use crate::value::name::{AliasName, FunctionName, VersionId};
use crate::value::weight::{Split, Weight};

/// An alias, ready for drawing.
#[derive(Debug)]
pub struct Alias {
    /// Its function.
    pub function: FunctionIndex,
    /// Its name.
    pub name: AliasName,
    /// The alias as requests see it: as configured, with the layer of the rollout that runs on it.
    pub model: Arc<model::Alias>,
    /// Its way through the exact sequence; `None` when nothing is left to draw (one version above weight 0), or it is
    /// drawn at random.
    pub slots: Option<Slots>,
    /// The salt of its buckets.
    pub salt: u64,
    /// The versions above weight 0 in the order in which they stand in for each other: the stable one first, then by
    /// weight, the largest first; of equals the lower number.
    pub(crate) preference: SmallVec<[Preferred; 2]>,
    /// For each part of the split its place among the preferred.
    places: [u8; Split::MAX_VERSIONS],
    /// Whether it has neither rules nor key sources.
    pub(crate) keyless: bool,
    /// Whether a spare answers at once for a version without a healthy endpoint.
    pub(crate) fallback: bool,
}

/// A version above weight 0. With its upstream beside it a request needs neither the function nor the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preferred {
    pub(crate) version: VersionId,
    /// Where it runs; `None` when only the function knows: it depends on the stage.
    pub(crate) upstream: Option<UpstreamIndex>,
}

impl Alias {
    pub(super) fn compile(
        function: (FunctionIndex, &FunctionName),
        name: &AliasName,
        model: &Arc<model::Alias>,
        preference: SmallVec<[Preferred; 2]>,
        slots: Option<Slots>,
    ) -> Self {
        let mut places = [0; Split::MAX_VERSIONS];
        for (place, (version, _)) in places.iter_mut().zip(model.split.parts()) {
            let found = preference.iter().position(|preferred| preferred.version == *version);
            // One of weight 0 is never asked for.
            *place = found.map_or(u8::MAX, |found| found as u8);
        }
        let salt = match &model.salt {
            Some(cohort) => bucket::named_salt(cohort),
            None => bucket::salt(function.1, name, model.joined),
        };
        Self {
            function: function.0,
            name: name.clone(),
            model: model.clone(),
            slots,
            salt,
            preference,
            places,
            keyless: model.rules.is_empty() && model.key.is_empty(),
            fallback: model.on_unhealthy == OnUnhealthy::Fallback,
        }
    }

    /// Which failures of this version its spare answers: none of the stable version's, or the candidate would stand in
    /// for it. Stable is what the alias says, and what stands in first for the others.
    #[must_use]
    pub fn shield(&self, version: VersionId) -> Shield {
        let is_stable = self.model.stable == Some(version) || self.model.stable_version() == version;
        if is_stable { Shield::Off } else { self.model.shield }
    }

    /// The version that the slot of a cursor goes to.
    #[inline]
    pub(crate) fn at(&self, slots: &Slots, cursor: u64) -> VersionId {
        self.preference[usize::from(self.places[slots.at(cursor)])].version
    }

    /// The version that a slot went to when so much had been carried over; `None` if it draws no slots.
    pub(crate) fn version_of_slot(&self, function: &FunctionName, owed: Option<&Owed>, slot: u64) -> Option<VersionId> {
        let (slots, split) = (self.slots.as_ref()?, &self.model.split);
        let sequence = || Arc::new(shared_sequence(split));
        let carried = owed.map(|owed| Slots::carried(split, owed, seed((function, &self.name)), sequence));
        Some(self.at(carried.as_ref().unwrap_or(slots), slot))
    }

    /// The version of a request whose number is uniform in 0..2^64.
    #[inline]
    pub(crate) fn random(&self, number: u64) -> VersionId {
        let mut place = ((u128::from(number) * u128::from(Weight::WHOLE)) >> 64) as u16;
        for &(version, weight) in self.model.split.parts() {
            match place.checked_sub(weight.basis_points()) {
                Some(rest) => place = rest,
                None => return version,
            }
        }
        unreachable!("weights sum to 10 000, and the place is below")
    }
}

/// The versions above weight 0 in the order of preference, where they run beside them.
pub(super) fn preference(
    model: &model::Alias,
    upstream: impl Fn(VersionId) -> Option<UpstreamIndex>,
) -> SmallVec<[Preferred; 2]> {
    let mut parts: Vec<_> = model.split.parts().iter().filter(|part| part.1 > Weight::ZERO).collect();
    let stable = model.stable_version();
    parts.sort_by_key(|&&(version, weight)| (stable != version, Reverse(weight), version));
    parts.into_iter().map(|&(version, _)| Preferred { version, upstream: upstream(version) }).collect()
}

/// Slot sequences by weights, as long as an alias uses them.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequences {
    by_weights: OrdMap<Vec<Weight>, Weak<SlotSequence>>,
    /// Entries when those without a user were last removed.
    swept: usize,
}

impl Sequences {
    /// The slots of an alias; `before` is how it went on until now, with its cursor. The flag says whether the cursor
    /// starts anew.
    pub(super) fn slots(
        &mut self,
        names: (&FunctionName, &AliasName),
        model: &model::Alias,
        before: Option<(&Alias, u64)>,
    ) -> (Option<Slots>, bool) {
        let one = model.split.parts().iter().any(|(_, weight)| weight.basis_points() == Weight::WHOLE);
        if one || model.selection == Selection::Random {
            return (None, false);
        }
        let split = &model.split;
        let seed = seed(names);
        let before = before.and_then(|(alias, cursor)| Some((alias, alias.slots.as_ref()?, cursor)));
        match before {
            Some((alias, slots, _)) if alias.model.split == *split => (Some(slots.clone()), false),
            Some((_, slots, cursor)) => {
                let slots = Slots::carried(split, &slots.owed(cursor), seed, || self.sequence(split));
                (Some(slots), true)
            }
            None => (Some(Slots::fresh(split, self.sequence(split))), true),
        }
    }

    fn sequence(&mut self, split: &Split) -> Arc<SlotSequence> {
        let weights = split.weights();
        if let Some(sequence) = self.by_weights.get(&weights).and_then(Weak::upgrade) {
            return sequence;
        }
        if self.by_weights.len() > 2 * self.swept + 64 {
            let used = self.by_weights.iter().filter(|(_, sequence)| sequence.strong_count() > 0);
            self.by_weights = used.map(|(weights, sequence)| (weights.clone(), sequence.clone())).collect();
            self.swept = self.by_weights.len();
        }
        let sequence = Arc::new(shared_sequence(split));
        self.by_weights.insert(weights, Arc::downgrade(&sequence));
        sequence
    }
}

/// The seed of an alias's own sequences.
fn seed(names: (&FunctionName, &AliasName)) -> u64 {
    xxh3_64(format!("{}:{}", names.0, names.1).as_bytes())
}

/// The sequence of all aliases with these weights. The same on every node, so that a fixed number is as good a seed as any.
fn shared_sequence(split: &Split) -> SlotSequence {
    SlotSequence::new(split, xxh3_64(b"weir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(second: u16) -> Split {
        let parts = [(1, 10_000 - second), (2, second)];
        let part = |(number, weight)| (VersionId::number(number).unwrap(), Weight::new(weight).unwrap());
        Split::new(parts.map(part)).unwrap()
    }

    #[test]
    fn equal_weights_share_a_sequence_while_somebody_uses_it() {
        let mut sequences = Sequences::default();
        let used = sequences.sequence(&split(500));
        for weight in 1..1_000 {
            drop(sequences.sequence(&split(weight)));
        }
        assert!(Arc::ptr_eq(&used, &sequences.sequence(&split(500))));
        assert!(sequences.by_weights.len() < 200, "those without a user are not kept: {}", sequences.by_weights.len());
    }

    fn compiled(model: model::Alias) -> Alias {
        let preference = preference(&model, |_| None);
        let function = (FunctionIndex::new(0), &"shop".parse().unwrap());
        Alias::compile(function, &AliasName::default_alias(), &Arc::new(model), preference, None)
    }

    #[test]
    fn the_stable_version_is_never_shielded() {
        let [one, two, three] = [1, 2, 3].map(|number| VersionId::number(number).unwrap());
        for (second, stable, shielded) in [
            (500, None, [false, true]),
            (9_500, None, [true, false]),
            (5_000, None, [false, true]),
            (9_500, Some(one), [false, true]),
            (500, Some(two), [true, false]),
            // Stable by name, without weight.
            (500, Some(three), [false, true]),
        ] {
            let alias = compiled(model::Alias { shield: Shield::Gateway, stable, ..model::Alias::new(split(second)) });
            assert_eq!(
                [one, two].map(|version| alias.shield(version) == Shield::Gateway),
                shielded,
                "{second} {stable:?}"
            );
            assert_eq!(alias.shield(three), if stable == Some(three) { Shield::Off } else { Shield::Gateway });
        }
    }

    #[test]
    fn random_draws_have_the_weights() {
        let alias = compiled(model::Alias::new(split(500)));
        let step = u64::MAX / 10_000;
        let second = (0..10_000).filter(|n| alias.random(n * step + step / 2) == VersionId::number(2).unwrap()).count();
        assert_eq!(second, 500);
        assert_eq!(alias.random(u64::MAX), VersionId::number(2).unwrap());
    }
}
