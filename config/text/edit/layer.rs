//! Layers of rollouts, and what an alias remembers of its own splits.

use std::sync::Arc;

use crate::model::{Alias, Function, Layer, Past};
use crate::text::edit::not_found;
use crate::text::problem::{Code, Problem};
use crate::text::yaml::join;
use crate::value::name::{AliasName, RolloutId};

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
    if function.layers.get(name).is_some_and(|layer| layer.rollout == rollout) {
        function.layers.remove(name);
    }
    if is_back && function.own(name).is_some() {
        let past = function.pasts.get(name).map(|past| Past::clone(past)).unwrap_or_default();
        function.pasts.insert(name.clone(), Arc::new(Past { is_back, ..past }));
    }
}

/// Writes what requests see into the alias, and drops the layer.
pub(super) fn keep(function: &mut Function, name: &AliasName, rollout: RolloutId) {
    let layer = function.layers.get(name).filter(|layer| layer.rollout == rollout).cloned();
    if let (Some(layer), Some(own)) = (layer, function.own(name)) {
        let seen = layer.over(&own);
        function.layers.remove(name);
        function.aliases.insert(name.clone(), Arc::new(Alias { shield: own.shield, ..seen }));
        remember(function, name, Some(own));
    }
}

/// Gives the alias the split before its last episode, which it remembers no longer. Does nothing after a rollout that went back.
///
/// # Errors
/// There is no alias; it remembers no episode; a version of the split is gone or out of use.
pub(super) fn roll_back(function: &mut Function, path: &str, name: &AliasName) -> Result<(), Vec<Problem>> {
    let path = join(path, name.as_str());
    let Some(own) = function.own(name) else {
        return Err(vec![not_found(path, format!("there is no alias `{name}`"))]);
    };
    let mut past = function.pasts.get(name).map(|past| Past::clone(past)).unwrap_or_default();
    if past.is_back {
        return Ok(());
    }
    let Some(earlier) = past.splits.pop() else {
        let problem = Problem::error(path, format!("`{name}` remembers no other split"));
        return Err(vec![problem.code(Code::NothingEarlier)]);
    };
    let is_gone = |version| function.version(version).is_none_or(|version| version.retired);
    if let Some(version) = earlier.split.served().find(|version| is_gone(*version)) {
        let message =
            format!("the split before the last episode is {{{}}}, and version {version} is gone", earlier.split);
        let help = format!("bring version {version} back, or set the split: `weir shift`");
        return Err(vec![Problem::error(path, message).help(help)]);
    }
    function.aliases.insert(name.clone(), earlier.restored(&own));
    function.pasts.insert(name.clone(), Arc::new(past));
    Ok(())
}

/// Notes that an alias, which was `before`, has another split now. One that is gone is forgotten.
pub(super) fn remember(function: &mut Function, name: &AliasName, before: Option<Arc<Alias>>) {
    let Some(now) = function.own(name) else {
        function.layers.remove(name);
        function.pasts.remove(name);
        return;
    };
    if let Some(before) = before.filter(|before| before.split != now.split) {
        let past = function.pasts.get(name).map(|past| Past::clone(past)).unwrap_or_default();
        function.pasts.insert(name.clone(), Arc::new(past.with(&before)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::text::edit::{Edit, FunctionEdit, apply, edits_between};
    use crate::text::parse::parse;
    use crate::value::weight::Split;

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
        with(config, FunctionEdit::RollBackAlias(prod()))
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
        assert_eq!(split(&back(&back(&went_back).unwrap()).unwrap()), "2: 100");
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
