//! Rollouts of release 0.1.0, which set the splits of aliases themselves.

use std::sync::Arc;

use super::{Member, OwnFields, Rollout};
use crate::model::{Alias, Config, Layer};
use crate::text::edit::{Edit, FunctionEdit, Stored};
use crate::value::weight::Split;

/// The edits by which a running rollout of release 0.1.0 gets layers, and its aliases get back what is their own. Requests see
/// the same before and after. `lent`: of each member, the fields that the rollout replaced.
#[must_use]
pub fn layered(rollout: &Rollout, lent: &[OwnFields], config: &Config) -> Vec<Edit> {
    let members = rollout.members.iter().zip(lent);
    members.filter_map(|(member, own)| of_member(rollout, member, own, config)).flatten().collect()
}

fn of_member(rollout: &Rollout, member: &Member, own: &OwnFields, config: &Config) -> Option<[Edit; 2]> {
    let alias = config.functions.get(&member.function)?.aliases.get(&member.alias)?;
    let layer = rollout.layer(member.candidate, member.stable?, rollout.weight, None);
    if alias.split != layer.split() {
        // It has not begun its first step.
        return None;
    }
    // What an operator set meanwhile is the alias's own.
    let has_shield = layer.shield == Some(alias.shield);
    let has_salt = layer.salt.is_some() && layer.salt == alias.salt;
    let to = Alias {
        shield: if has_shield { own.shield } else { alias.shield },
        salt: if has_salt { own.salt.clone() } else { alias.salt.clone() },
        ..alias.shifted(&Split::whole(layer.stable))
    };
    let layer =
        Layer { shield: layer.shield.filter(|_| has_shield), salt: layer.salt.clone().filter(|_| has_salt), ..layer };
    let edit = |edit| Edit::Function(member.function.clone(), edit);
    Some([
        Edit::Stored(member.function.clone(), Stored::Alias(member.alias.clone(), Some(Arc::new(to)))),
        edit(FunctionEdit::SetLayer(member.alias.clone(), Arc::new(layer))),
    ])
}
