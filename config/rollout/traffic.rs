//! What a rollout's traffic means for its aliases.

use std::sync::Arc;

use super::{Member, Rollout, Traffic};
use crate::edit::{AliasPatch, Edit, Field, FunctionEdit};
use crate::model::{Alias, Config};
use crate::name::VersionId;
use crate::weight::{Split, Weight};

/// The edits that give every member's alias this traffic; an alias that is not there yet is made.
#[must_use]
pub fn edits(rollout: &Rollout, traffic: Traffic, config: &Config) -> Vec<Edit> {
    rollout.members.iter().filter_map(|member| edit(rollout, member, traffic, config)).collect()
}

fn edit(rollout: &Rollout, member: &Member, traffic: Traffic, config: &Config) -> Option<Edit> {
    let candidate = VersionId::Number(member.candidate);
    let (split, stable) = match (traffic, member.stable) {
        (Traffic::Share(weight), Some(stable)) => (shared(stable, candidate, weight), Some(stable)),
        // There is nobody to share with.
        (Traffic::Share(_), None) => (Split::whole(candidate), None),
        (Traffic::Promoted, _) => (Split::whole(candidate), Some(candidate)),
        (Traffic::Back, Some(stable)) => (Split::whole(stable), Some(stable)),
        (Traffic::Back, None) => return None,
    };
    let is_there = config.functions.get(&member.function)?.aliases.contains_key(&member.alias);
    let edit = if is_there {
        let salt = match traffic {
            Traffic::Share(_) => Some(rollout.cohort()),
            Traffic::Promoted | Traffic::Back => member.salt.clone(),
        };
        let salt = salt.map_or(Field::Reset, Field::Set);
        let shield = match traffic {
            Traffic::Share(_) => rollout.plan.guard.shield,
            Traffic::Promoted | Traffic::Back => member.shield,
        };
        let patch = AliasPatch {
            split: Some(split),
            stable: stable.map_or(Field::Reset, Field::Set),
            salt: if rollout.is_train() { salt } else { Field::Keep },
            shield: Field::Set(shield),
            ..AliasPatch::default()
        };
        FunctionEdit::PatchAlias(member.alias.clone(), patch)
    } else {
        FunctionEdit::CreateAlias(member.alias.clone(), Arc::new(Alias { stable, ..Alias::new(split) }))
    };
    Some(Edit::Function(member.function.clone(), edit))
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
