//! Who names a version, an alias or a function.

use crate::model::{Config, DomainStage, Route, Stage};
use crate::text::yaml::join;
use crate::value::name::{AliasName, FunctionName, Qualifier, StageName, VersionId};

/// Every place that names this version: aliases of its function (also at weight 0), routes and triggers. Costs what
/// there are routes.
#[must_use]
pub fn references(config: &Config, function: &FunctionName, version: VersionId) -> Vec<String> {
    let mut places = Vec::new();
    let path = format!("{}.aliases", join("functions", function.as_str()));
    for (name, alias) in config.functions.get(function).into_iter().flat_map(|function| &function.aliases) {
        let path = join(&path, name.as_str());
        if alias.split.parts().iter().any(|(part, _)| *part == version) {
            places.push(format!("{path}.split.{version}"));
        }
        let rules = alias.rules.iter().enumerate().filter(|(_, rule)| rule.version == version);
        places.extend(rules.map(|(index, _)| format!("{path}.rules[{index}].version")));
        if alias.stable == Some(version) {
            places.push(format!("{path}.stable"));
        }
    }
    let named = Qualifier::Version(version);
    places.extend(routes(config, |route, _| route.function == *function && route.qualifier.as_ref() == Some(&named)));
    places
}

/// Every place that leads to this alias: routes and triggers that name it, or whose stage does, and exceptions of stages.
pub(crate) fn references_to_alias(config: &Config, function: &FunctionName, alias: &AliasName) -> Vec<String> {
    let leads = |stage: &Stage| {
        let text = stage.functions.get(function).unwrap_or(&stage.alias).render(&stage.variables);
        text.is_ok_and(|text| text == alias.as_str())
    };
    let is_led = |name: &StageName| config.stages.get(name).is_some_and(|stage| leads(stage));
    let meant = |route: &Route, stage: &DomainStage| match (&route.qualifier, &route.stage, stage) {
        (Some(qualifier), ..) => matches!(qualifier, Qualifier::Alias(named) if named == alias),
        (None, Some(stage), _) | (None, None, DomainStage::Named(stage)) => is_led(stage),
        // A function need not have the alias of every stage that a path can name; without a stage it is `$DEFAULT`.
        (None, None, DomainStage::Path | DomainStage::None) => false,
    };
    let exceptions = config.stages.iter().filter(|(_, stage)| stage.functions.contains_key(function) && leads(stage));
    let exceptions = exceptions.map(|(name, _)| exception(name, function));
    exceptions.chain(routes(config, |route, stage| route.function == *function && meant(route, stage))).collect()
}

/// Every place outside of a function that names it: stages, routes and triggers.
pub(crate) fn references_to_function(config: &Config, function: &FunctionName) -> Vec<String> {
    let stages = config.stages.iter().filter(|(_, stage)| stage.functions.contains_key(function));
    let stages = stages.map(|(name, _)| exception(name, function));
    stages.chain(routes(config, |route, _| route.function == *function)).collect()
}

fn exception(stage: &StageName, function: &FunctionName) -> String {
    join(&format!("{}.functions", join("stages", stage.as_str())), function.as_str())
}

/// The routes and triggers that are meant, each seen with the stage of its domain.
fn routes(config: &Config, is_meant: impl Fn(&Route, &DomainStage) -> bool) -> impl Iterator<Item = String> {
    let of_list = |path: String, routes: &[Route], stage: &DomainStage| {
        let indices: Vec<usize> = (0..routes.len()).filter(|index| is_meant(&routes[*index], stage)).collect();
        indices.into_iter().map(move |index| format!("{path}[{index}].to"))
    };
    let of_domains = config.domains.iter().flat_map(|(host, domain)| {
        let named = domain.routes.iter().any(|route| is_meant(route, &domain.stage));
        named
            .then(|| of_list(format!("{}.routes", join("domains", &host.to_string())), &domain.routes, &domain.stage))
            .into_iter()
            .flatten()
    });
    let of_triggers = of_list("triggers".to_owned(), &config.triggers, &DomainStage::None);
    let places: Vec<String> = of_domains.chain(of_triggers).collect();
    places.into_iter()
}
