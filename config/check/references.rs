//! Who names a version or a function.

use crate::model::{Config, Route};
use crate::name::{FunctionName, Qualifier, VersionId};
use crate::yaml::join;

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
    places.extend(routes(config, |route| route.function == *function && route.qualifier.as_ref() == Some(&named)));
    places
}

/// Every place outside of a function that names it: stages, routes and triggers.
pub(crate) fn references_to_function(config: &Config, function: &FunctionName) -> Vec<String> {
    let stages = config.stages.iter().filter(|(_, stage)| stage.functions.contains_key(function));
    let stages =
        stages.map(|(name, _)| join(&format!("{}.functions", join("stages", name.as_str())), function.as_str()));
    stages.chain(routes(config, |route| route.function == *function)).collect()
}

fn routes(config: &Config, is_meant: impl Fn(&Route) -> bool) -> impl Iterator<Item = String> {
    let of_list = |path: String, routes: &[Route]| {
        let indices: Vec<usize> = (0..routes.len()).filter(|index| is_meant(&routes[*index])).collect();
        indices.into_iter().map(move |index| format!("{path}[{index}].to"))
    };
    let of_domains = config.domains.iter().flat_map(|(host, domain)| {
        let named = domain.routes.iter().any(&is_meant);
        named
            .then(|| of_list(format!("{}.routes", join("domains", &host.to_string())), &domain.routes))
            .into_iter()
            .flatten()
    });
    let places: Vec<String> = of_domains.chain(of_list("triggers".to_owned(), &config.triggers)).collect();
    places.into_iter()
}
