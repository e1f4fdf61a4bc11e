//! Layers of rollouts, and what an alias remembers of its own splits.

use std::sync::Arc;

use crate::model::{Alias, Config, EarlierSplit, Function, Layer, Past};
use crate::text::edit::unread::unread;
use crate::text::edit::{Edit, FunctionEdit, not_found};
use crate::text::problem::{Code, Problem};
use crate::text::yaml::join;
use crate::value::name::{AliasName, FunctionName, RolloutId, VersionId};
use crate::value::weight::Split;

/// Puts a layer over an alias. `path` is that of the aliases.
pub(super) fn set(
    function: &mut Function,
    path: &str,
    name: &AliasName,
    layer: &Arc<Layer>,
) -> Result<(), Vec<Problem>> {
    if function.own(name).is_none() {
        return Err(vec![not_found(join(path, name.as_str()), format!("there is no alias `{name}`"))]);
    }
    function.layers.insert(name.clone(), Arc::clone(layer));
    Ok(())
}

/// Drops the layer of a rollout, if it is there. `is_back`: because the rollout went back.
pub(super) fn remove(function: &mut Function, name: &AliasName, rollout: RolloutId, is_back: bool) {
    take_off(function, name, rollout);
    if is_back && function.own(name).is_some() {
        let past = past(function, name);
        function.pasts.insert(name.clone(), Arc::new(Past { is_back, ..past }));
    }
}

/// Takes the layer of a rollout off an alias, if it is there, and notes that: what requests see has changed.
fn take_off(function: &mut Function, name: &AliasName, rollout: RolloutId) -> Option<Arc<Layer>> {
    let layer = function.layers.get(name).filter(|layer| layer.rollout == rollout).cloned()?;
    function.layers.remove(name);
    if function.own(name).is_some() {
        let past = past(function, name);
        function.pasts.insert(name.clone(), Arc::new(Past { dropped: Some(rollout), ..past }));
    }
    Some(layer)
}

fn past(function: &Function, name: &AliasName) -> Past {
    function.pasts.get(name).map(|past| Past::clone(past)).unwrap_or_default()
}

/// Writes what requests see into the alias, and drops the layer.
pub(super) fn keep(function: &mut Function, name: &AliasName, rollout: RolloutId) {
    let own = function.own(name);
    if let (Some(own), Some(layer)) = (own.clone(), own.and_then(|_| take_off(function, name, rollout))) {
        let seen = layer.over(&own);
        function.aliases.insert(name.clone(), Arc::new(Alias { shield: own.shield, ..seen }));
        if !layer.is_rebased {
            remember(function, name, Some(own));
        }
    }
}

/// Gives the alias everything to the candidate, and drops the layer. What the alias had before is an episode, unless that began
/// with the rollout's own base.
pub(super) fn promote(function: &mut Function, name: &AliasName, rollout: RolloutId, candidate: VersionId) {
    let before = function.own(name);
    let split = Split::whole(candidate);
    let own = before.as_ref().map_or_else(|| Alias::new(split.clone()), |own| own.shifted(&split));
    function.aliases.insert(name.clone(), Arc::new(Alias { stable: Some(candidate), ..own }));
    let layer = take_off(function, name, rollout);
    if !layer.is_some_and(|layer| layer.is_rebased) {
        remember(function, name, before);
    }
}

/// Gives the alias an earlier split, and its past.
pub(super) fn roll_back(
    function: &mut Function,
    path: &str,
    (name, to, past): (&AliasName, &EarlierSplit, &Arc<Past>),
) -> Result<(), Vec<Problem>> {
    let Some(own) = function.own(name) else {
        return Err(vec![not_found(join(path, name.as_str()), format!("there is no alias `{name}`"))]);
    };
    function.aliases.insert(name.clone(), to.restored(&own));
    function.pasts.insert(name.clone(), Arc::clone(past));
    Ok(())
}

/// The edit that gives an alias the split before its last episode, which it remembers no longer. The first one after a rollout
/// that went back changes no split: it is so already.
///
/// # Errors
/// There is no alias; it remembers no episode; a version of the split is gone or out of use.
pub fn rollback_of(config: &Config, name: &FunctionName, alias: &AliasName) -> Result<Edit, Vec<Problem>> {
    let path = format!("functions.{name}.aliases.{alias}");
    let function = config.functions.get(name);
    if function.is_some_and(|function| function.is_unread_alias(alias)) {
        return Err(vec![unread(path, &format!("the stored text of the alias `{name}:{alias}`"))]);
    }
    let Some((function, own)) = function.and_then(|function| Some((function, function.own(alias)?))) else {
        return Err(vec![not_found(path, format!("there is no alias `{name}:{alias}`"))]);
    };
    let mut past = past(function, alias);
    let roll_back =
        |to, past| Edit::Function(name.clone(), FunctionEdit::RollBackAlias(alias.clone(), to, Arc::new(past)));
    if past.is_back {
        // It is so already; asked again, it goes one further back.
        return Ok(roll_back(EarlierSplit::of(&own), Past { is_back: false, ..past }));
    }
    let Some(earlier) = past.splits.pop() else {
        let problem = Problem::error(path, format!("`{name}:{alias}` remembers no other split"));
        let help =
            format!("`weir history {name}:{alias}` lists its revisions: `weir rollback {name}:{alias} --to REVISION`");
        return Err(vec![problem.help(help).code(Code::NothingEarlier)]);
    };
    let is_gone = |version| function.version(version).is_none_or(|version| version.retired);
    if let Some(version) = earlier.split.served().find(|version| is_gone(*version)) {
        let message =
            format!("the split before the last episode is {{{}}}, and version {version} is gone", earlier.split);
        let help =
            format!("bring version {version} back, or set the split: `weir shift {name}:{alias} VERSION=WEIGHT`");
        return Err(vec![Problem::error(path, message).help(help)]);
    }
    Ok(roll_back(earlier, past))
}

/// Forgets what `$DEFAULT` remembers once it is not there any more.
pub(super) fn forget_default(function: &mut Function) {
    remember(function, &AliasName::default_alias(), None);
}

/// Notes that an alias, which was `before`, has another split now. One that is gone is forgotten.
pub(super) fn remember(function: &mut Function, name: &AliasName, before: Option<Arc<Alias>>) {
    if function.is_unread_alias(name) {
        // It is not gone.
        return;
    }
    let Some(now) = function.own(name) else {
        function.layers.remove(name);
        function.pasts.remove(name);
        return;
    };
    if let Some(before) = before.filter(|before| before.split != now.split) {
        let past = past(function, name);
        function.pasts.insert(name.clone(), Arc::new(past.with(&before)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::edit::{apply, edits_between};
    use crate::text::parse::parse;

    const SHOP: &str = "
functions:
  shop:
    versions: {1: 'http://10.0.0.1', 2: 'http://10.0.0.2', 3: 'http://10.0.0.3'}
    aliases: {prod: {1: 100}}
";

    fn shop() -> Config {
        parse(SHOP, &|_| None).unwrap().0
    }

    fn prod() -> AliasName {
        "prod".parse().unwrap()
    }

    fn with(config: &Config, edit: FunctionEdit) -> Result<Config, Vec<Problem>> {
        apply(config, &[Edit::Function("shop".parse().unwrap(), edit)])
    }

    fn shifted(config: &Config, version: &str) -> Config {
        with(config, FunctionEdit::Shift(prod(), Split::whole(version.parse().unwrap()))).unwrap()
    }

    fn back(config: &Config) -> Result<Config, Vec<Problem>> {
        let edit = rollback_of(config, &"shop".parse().unwrap(), &prod())?;
        let edits = [edit];
        let twice = apply(&apply(config, &edits)?, &edits)?;
        assert_eq!(twice, apply(config, &edits)?, "applied twice it is the same as applied once");
        Ok(twice)
    }

    fn split(config: &Config) -> String {
        config.functions["shop"].aliases["prod"].split.to_string()
    }

    #[test]
    fn each_rollback_goes_one_episode_further_back() {
        let three = shifted(&shifted(&shop(), "2"), "3");
        // Neither another field nor the same split again is an episode.
        let same = shifted(&three, "3");
        let two = back(&same).unwrap();
        assert_eq!(split(&two), "2: 100");
        let one = back(&two).unwrap();
        assert_eq!(split(&one), "1: 100");
        assert_eq!(back(&one).unwrap_err()[0].code, Some(Code::NothingEarlier));
        assert_eq!(split(&back(&shifted(&one, "3")).unwrap()), "1: 100");
    }

    #[test]
    fn an_edit_of_the_file_is_an_episode() {
        let file = |split: &str| parse(&SHOP.replace("{1: 100}", split), &|_| None).unwrap().0;
        let (one, half) = (file("{1: 100}"), file("{1: 50, 2: 50}"));
        let live = apply(&shop(), &edits_between(&one, &half)).unwrap();
        assert_eq!(split(&live), "1: 50, 2: 50");
        assert_eq!(split(&back(&live).unwrap()), "1: 100");
    }

    #[test]
    fn after_a_rollout_that_went_back_there_is_nothing_to_undo() {
        let config = shifted(&shop(), "2");
        let drop_layer = FunctionEdit::DropLayer { alias: prod(), rollout: RolloutId(9), is_back: true };
        let went_back = with(&config, drop_layer).unwrap();
        assert_eq!(split(&back(&went_back).unwrap()), "2: 100");
        assert_eq!(split(&back(&back(&went_back).unwrap()).unwrap()), "1: 100", "asked again it goes on");
        assert_eq!(split(&back(&shifted(&went_back, "3")).unwrap()), "2: 100", "until something happens");
    }

    #[test]
    fn a_split_whose_version_is_gone_is_refused_by_name() {
        let config = shifted(&shop(), "2");
        let retired = with(&config, FunctionEdit::Retire(1.try_into().unwrap(), true)).unwrap();
        let problem = back(&retired).unwrap_err().remove(0);
        assert!(problem.message.contains("{1: 100}, and version 1 is gone"), "{}", problem.message);
    }

    #[test]
    fn an_alias_that_is_made_again_remembers_nothing() {
        let config = shifted(&shop(), "2");
        let gone = with(&config, FunctionEdit::Alias(prod(), None)).unwrap();
        let alias = Arc::new(Alias::new(Split::whole("3".parse().unwrap())));
        let again = with(&gone, FunctionEdit::CreateAlias(prod(), alias)).unwrap();
        assert!(again.functions["shop"].pasts.is_empty());
    }
}
