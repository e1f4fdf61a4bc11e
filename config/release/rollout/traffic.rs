//! What a rollout's traffic means for its aliases.

use std::sync::Arc;

use super::{Member, Rollout, Traffic};
use crate::model::{Alias, AliasPatch, Config, Field};
use crate::text::edit::{Edit, FunctionEdit};
use crate::value::name::VersionId;
use crate::value::weight::{Split, Weight};

/// The edits that give every member's alias this traffic; an alias that is not there yet is made.
#[must_use]
pub fn edits(rollout: &Rollout, traffic: Traffic, config: &Config) -> Vec<Edit> {
    rollout.members.iter().filter_map(|member| edit(rollout, member, traffic, config)).collect()
}

fn edit(rollout: &Rollout, member: &Member, traffic: Traffic, config: &Config) -> Option<Edit> {
    let alias = config.functions.get(&member.function)?.aliases.get(&member.alias);
    // A split that nobody touched, as that of another member of a train, is watched by nobody any more.
    let is_left = traffic == Traffic::Theirs && alias.is_some_and(|alias| is_as_left(rollout, member, alias));
    let traffic = if is_left { Traffic::Back } else { traffic };
    let edit = match (alias, traffic) {
        (Some(alias), Traffic::Theirs) => {
            FunctionEdit::PatchAlias(member.alias.clone(), returned(rollout, member, alias))
        }
        (Some(alias), traffic) => {
            let (split, stable) = split(member, traffic)?;
            let lent = if matches!(traffic, Traffic::Share(_)) {
                lent(rollout, member, alias)
            } else {
                returned(rollout, member, alias)
            };
            let stable = stable.map_or(Field::Reset, Field::Set);
            FunctionEdit::PatchAlias(member.alias.clone(), AliasPatch { split: Some(split), stable, ..lent })
        }
        (None, traffic) => {
            let (split, stable) = split(member, traffic)?;
            FunctionEdit::CreateAlias(member.alias.clone(), Arc::new(Alias { stable, ..Alias::new(split) }))
        }
    };
    Some(Edit::Function(member.function.clone(), edit))
}

/// The split, and who is stable; `None` where the rollout has none to set.
fn split(member: &Member, traffic: Traffic) -> Option<(Split, Option<VersionId>)> {
    let candidate = VersionId::Number(member.candidate);
    match (traffic, member.stable) {
        (Traffic::Share(weight), Some(stable)) => Some((shared(stable, candidate, weight), Some(stable))),
        // There is nobody to share with.
        (Traffic::Share(_), None) => Some((Split::whole(candidate), None)),
        (Traffic::Promoted, _) => Some((Split::whole(candidate), Some(candidate))),
        (Traffic::Back, stable) => stable.map(|stable| (Split::whole(stable), Some(stable))),
        (Traffic::Theirs, _) => None,
    }
}

/// Whether the alias still has the split that the rollout gave it.
fn is_as_left(rollout: &Rollout, member: &Member, alias: &Alias) -> bool {
    split(member, Traffic::Share(rollout.weight)).is_some_and(|(split, _)| split == alias.split)
}

/// The plan's shield, and in a train the cohort's salt, which the alias has while the candidate shares. What an operator sets
/// otherwise after the first step stays.
fn lent(rollout: &Rollout, member: &Member, alias: &Alias) -> AliasPatch {
    // At the first step the alias may still have what a rollout that it supersedes has lent.
    let is_first = rollout.step() == Some(0);
    let has_own_shield = is_first || alias.shield == member.shield;
    let has_own_salt = rollout.is_train() && (is_first || alias.salt == member.salt);
    AliasPatch {
        salt: if has_own_salt { Field::Set(rollout.cohort()) } else { Field::Keep },
        shield: if has_own_shield { Field::Set(rollout.plan.guard.shield) } else { Field::Keep },
        ..AliasPatch::default()
    }
}

/// The alias's own shield and salt, where it still has those that the rollout lent it.
fn returned(rollout: &Rollout, member: &Member, alias: &Alias) -> AliasPatch {
    let has_salt = rollout.is_train() && alias.salt.as_ref() == Some(&rollout.cohort());
    let has_shield = alias.shield == rollout.plan.guard.shield;
    let salt = member.salt.clone().map_or(Field::Reset, Field::Set);
    AliasPatch {
        salt: if has_salt { salt } else { Field::Keep },
        shield: if has_shield { Field::Set(member.shield) } else { Field::Keep },
        ..AliasPatch::default()
    }
}

fn shared(stable: VersionId, candidate: VersionId, weight: Weight) -> Split {
    let rest = Weight::new(Weight::WHOLE - weight.basis_points()).expect("a weight is at most the whole");
    Split::new([(stable, rest), (candidate, weight)]).expect("two versions whose weights sum to the whole")
}

impl Rollout {
    /// The name of the cohort that the members of a train share.
    fn cohort(&self) -> String {
        format!("train-{}", self.id)
    }
}
