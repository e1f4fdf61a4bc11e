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
    let own = function.aliases.get(&alias);
    let has_base = |stable| function.own(&alias).is_some_and(|own| own.split == Split::whole(stable));
    let went_back = match rollout.outcome() {
        Some(Outcome::RolledBack | Outcome::Aborted) => true,
        // A member of a train whose split nobody set.
        Some(Outcome::Superseded) => member.stable.is_some_and(has_base),
        _ => false,
    };
    let drop_layer = FunctionEdit::DropLayer { alias: alias.clone(), rollout: rollout.id, is_back: went_back };
    match (traffic, member.stable) {
        (Traffic::Step(weight), Some(stable)) => {
            let layer = function.layers.get(&alias).filter(|layer| layer.rollout == rollout.id);
            let set = FunctionEdit::SetLayer(
                alias.clone(),
                Arc::new(rollout.layer(member.candidate, stable, weight, layer.map(|layer| &**layer))),
            );
            // A split that was adopted, or a base that is not what has the traffic: going back leads to the base.
            let base = (!has_base(stable)).then(|| whole(own, &alias, stable, Some(stable)));
            base.into_iter().chain([set]).collect()
        }
        // There is no version to share with. What is there was made by the first step.
        (Traffic::Step(_), None) if own.is_some() => Vec::new(),
        (Traffic::Step(_), None) => vec![whole(own, &alias, candidate, None)],
        (Traffic::Promoted, _) => vec![whole(own, &alias, candidate, Some(candidate)), drop_layer],
        (Traffic::Dropped, _) => vec![drop_layer],
        (Traffic::Kept, _) => vec![FunctionEdit::KeepLayer { alias, rollout: rollout.id }],
    }
}

/// The edit that gives an alias, which may have to be made, one version alone.
fn whole(own: Option<&Arc<Alias>>, alias: &AliasName, version: VersionId, stable: Option<VersionId>) -> FunctionEdit {
    let split = Split::whole(version);
    match own {
        Some(_) => {
            let stable = stable.map_or(Field::Reset, Field::Set);
            FunctionEdit::PatchAlias(alias.clone(), AliasPatch { split: Some(split), stable, ..AliasPatch::default() })
        }
        None => FunctionEdit::CreateAlias(alias.clone(), Arc::new(Alias { stable, ..Alias::new(split) })),
    }
}

impl Rollout {
    /// The layer of a member. `now` is the one that it has: fields that were taken out of it live stay out.
    pub(super) fn layer(&self, candidate: NonZeroU32, stable: VersionId, weight: Weight, now: Option<&Layer>) -> Layer {
        let (shield, salt) = match now {
            Some(now) => (now.shield, now.salt.clone()),
            None => (Some(self.plan.guard.shield), self.is_train().then(|| format!("train-{}", self.id))),
        };
        Layer { rollout: self.id, stable, candidate, weight, shield, salt }
    }
}
