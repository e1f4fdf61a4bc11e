//! The layers of a rollout: what its traffic means for its aliases.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Member, Outcome, Rollout, Traffic};
use crate::model::{Alias, AliasPatch, Config, Field, Layer};
use crate::text::edit::{Edit, FunctionEdit};
use crate::value::name::{AliasName, VersionId};
use crate::value::weight::{Split, Weight};

/// The edits that give every member's alias this traffic; an alias that is not there yet is made.
#[must_use]
pub fn edits(rollout: &Rollout, traffic: Traffic, config: &Config) -> Vec<Edit> {
    let edits = |member: &Member| {
        let edits = edits_of(rollout, member, traffic, config);
        let function = member.function.clone();
        edits.into_iter().map(move |edit| Edit::Function(function.clone(), edit)).collect::<Vec<_>>()
    };
    rollout.members.iter().flat_map(edits).collect()
}

/// The layers without the fields that edits set live: from then on the alias's own count. `before` and `after` are the
/// configurations around the edits.
#[must_use]
pub fn without_set_fields(rollout: &Rollout, edits: &[Edit], before: &Config, after: &Config) -> Vec<Edit> {
    let edit = |member: &Member| {
        let own = |config: &Config| config.functions.get(&member.function)?.own(&member.alias);
        let (before, after_own) = (own(before)?, own(after)?);
        let function = after.functions.get(&member.function)?;
        let layer = function.layers.get(&member.alias).filter(|layer| layer.rollout == rollout.id)?;
        let named = |sets: fn(&AliasPatch) -> bool| {
            edits.iter().any(|edit| {
                matches!(edit, Edit::Function(name, FunctionEdit::PatchAlias(alias, patch))
                    if (name, alias) == (&member.function, &member.alias) && sets(patch))
            })
        };
        let has_shield = before.shield != after_own.shield || named(|patch| patch.shield != Field::Keep);
        let has_salt = before.salt != after_own.salt || named(|patch| patch.salt != Field::Keep);
        let next = Layer {
            shield: layer.shield.filter(|_| !has_shield),
            salt: layer.salt.clone().filter(|_| !has_salt),
            ..Layer::clone(layer)
        };
        let set = FunctionEdit::SetLayer(member.alias.clone(), Arc::new(next.clone()));
        (next != **layer).then(|| Edit::Function(member.function.clone(), set))
    };
    rollout.members.iter().filter_map(edit).collect()
}

fn edits_of(rollout: &Rollout, member: &Member, traffic: Traffic, config: &Config) -> Vec<FunctionEdit> {
    let Some(function) = config.functions.get(&member.function) else { return Vec::new() };
    let (alias, candidate) = (member.alias.clone(), VersionId::Number(member.candidate));
    let own = function.own(&alias);
    let has_base = |stable| own.as_ref().is_some_and(|own| own.split.served().eq([stable]));
    let now = function.layers.get(&alias).filter(|layer| layer.rollout == rollout.id);
    let is_rebased = now.is_some_and(|layer| layer.is_rebased);
    let went_back = match rollout.outcome() {
        Some(Outcome::RolledBack | Outcome::Aborted) => true,
        // A member of a train whose split nobody set.
        Some(Outcome::Superseded) => member.stable.is_some_and(has_base),
        _ => false,
    };
    // With a base of its own the alias has another split now than before the rollout.
    let is_back = went_back && !is_rebased;
    let set_layer = |stable, weight| {
        let mut layer = rollout.layer(member.candidate, stable, weight, now.map(|layer| &**layer));
        layer.is_rebased |= !has_base(stable);
        // A split that was adopted, or a base that is not what has the traffic: going back leads to the base.
        let base = (!has_base(stable)).then(|| whole(own.is_some(), &alias, stable, Some(stable)));
        base.into_iter().chain([FunctionEdit::SetLayer(alias.clone(), Arc::new(layer))]).collect()
    };
    match (traffic, member.stable) {
        (Traffic::Adopted, Some(stable)) => match &own {
            Some(own) if own.split.served().any(|version| version == candidate) => {
                set_layer(stable, own.split.weight(candidate))
            }
            _ => Vec::new(),
        },
        (Traffic::Step(weight), Some(stable)) => set_layer(stable, weight),
        // There is no version to share with. What is there was made by the first step.
        (Traffic::Step(_) | Traffic::Adopted, None) if own.is_some() => Vec::new(),
        (Traffic::Step(_) | Traffic::Adopted, None) => vec![whole(false, &alias, candidate, None)],
        (Traffic::Promoted, _) => vec![FunctionEdit::Promote { alias, rollout: rollout.id, candidate }],
        (Traffic::Dropped, _) => vec![FunctionEdit::DropLayer { alias, rollout: rollout.id, is_back }],
        (Traffic::Kept, _) => vec![FunctionEdit::KeepLayer { alias, rollout: rollout.id }],
    }
}

/// The edit that gives an alias, which may have to be made, one version alone.
fn whole(is_there: bool, alias: &AliasName, version: VersionId, stable: Option<VersionId>) -> FunctionEdit {
    let split = Split::whole(version);
    if !is_there {
        return FunctionEdit::CreateAlias(alias.clone(), Arc::new(Alias { stable, ..Alias::new(split) }));
    }
    let stable = stable.map_or(Field::Reset, Field::Set);
    FunctionEdit::PatchAlias(alias.clone(), AliasPatch { split: Some(split), stable, ..AliasPatch::default() })
}

impl Rollout {
    /// The layer of a member. `now` is the one that it has: fields that were taken out of it live stay out.
    pub(super) fn layer(&self, candidate: NonZeroU32, stable: VersionId, weight: Weight, now: Option<&Layer>) -> Layer {
        let (shield, salt) = match now {
            Some(now) => (now.shield, now.salt.clone()),
            None => (Some(self.plan.guard.shield), self.is_train().then(|| format!("train-{}", self.id))),
        };
        let is_rebased = now.is_some_and(|now| now.is_rebased);
        Layer { rollout: self.id, stable, candidate, weight, shield, salt, is_rebased }
    }
}
