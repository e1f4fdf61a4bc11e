//! Edits inside a function.

use std::sync::Arc;

use crate::model::Config;
use crate::text::edit::{FunctionEdit, alias, layer, not_found, version};
use crate::text::problem::Problem;
use crate::text::yaml::join;
use crate::value::name::FunctionName;

pub(super) fn apply(config: &mut Config, name: &FunctionName, edit: &FunctionEdit) -> Result<(), Vec<Problem>> {
    let path = join("functions", name.as_str());
    let Some(function) = config.functions.get_mut(name) else {
        return Err(vec![not_found(path, format!("there is no function `{name}`"))]);
    };
    let function = Arc::make_mut(function);
    let numbers = &mut config.numbers;
    let aliases = format!("{path}.aliases");
    let changed = edit.alias().map(|alias| (alias, function.own(alias)));
    let versions = version::Versions { path: &path, name, function: &mut *function, numbers };
    match edit {
        FunctionEdit::Draft(to) => {
            versions.draft(to.as_ref())?;
            layer::forget_default(function);
        }
        FunctionEdit::Version(number, Some(to)) => versions.put(*number, to)?,
        FunctionEdit::Version(number, None) => versions.delete(*number)?,
        FunctionEdit::Publish { from, label, description, expected } => {
            versions.publish(*from, label.as_ref(), description.as_ref(), *expected)?;
        }
        FunctionEdit::Label(number, label) => versions.label(*number, label.as_ref())?,
        FunctionEdit::Describe(number, description) => versions.describe(*number, description.as_ref())?,
        FunctionEdit::Retire(number, retired) => versions.change(*number, |version| version.retired = *retired)?,
        FunctionEdit::DropVersion(number) => versions.drop_version(*number)?,
        FunctionEdit::Endpoints(number, endpoints) => versions.relocate(*number, endpoints)?,
        FunctionEdit::Settings(to) => function.set_settings(to),
        FunctionEdit::CreateAlias(alias, to) => alias::create(&mut function.aliases, &aliases, alias, to)?,
        FunctionEdit::Alias(alias, Some(to)) => alias::set(&mut function.aliases, alias, to),
        FunctionEdit::Alias(alias, None) => alias::delete(&mut function.aliases, &aliases, alias)?,
        FunctionEdit::PatchAlias(alias, patch) => {
            alias::change(&mut function.aliases, &aliases, alias, |now| now.patched(patch))?;
        }
        FunctionEdit::Shift(alias, split) => {
            alias::change(&mut function.aliases, &aliases, alias, |now| now.shifted(split))?;
        }
        FunctionEdit::RestoreAlias(alias, to) => drop(function.aliases.insert(alias.clone(), Arc::clone(to))),
        FunctionEdit::RollBackAlias(alias, to, past) => layer::roll_back(function, &aliases, (alias, to, past))?,
        FunctionEdit::Promote { alias, rollout, candidate } => layer::promote(function, alias, *rollout, *candidate),
        FunctionEdit::SetLayer(alias, to) => layer::set(function, &aliases, alias, to)?,
        FunctionEdit::DropLayer { alias, rollout, is_back } => layer::remove(function, alias, *rollout, *is_back),
        FunctionEdit::KeepLayer { alias, rollout } => layer::keep(function, alias, *rollout),
    }
    if let Some((alias, before)) = changed {
        layer::remember(function, alias, before);
    }
    Ok(())
}
