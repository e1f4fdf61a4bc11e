//! References from domains, routes and triggers.

use crate::model::{Domain, DomainStage, Function, Route, Stage};
use crate::text::check::function::unread;
use crate::text::check::{Check, suggestion, variables, versions_of};
use crate::text::problem::{Problem, Severity};
use crate::text::yaml::join;
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName, Qualifier, StageName};

/// Methods that make a route without methods unreachable when others take all of them.
const COMMON_METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

impl Check<'_> {
    /// One domain; only its routes to one function if `only` is given.
    pub(super) fn domain(&mut self, host: &HostPattern, domain: &Domain, only: Option<&FunctionName>) {
        if only.is_some_and(|only| domain.routes.iter().all(|route| route.function != *only)) {
            return;
        }
        let path = join("domains", &host.to_string());
        match &domain.stage {
            DomainStage::Named(stage) => self.existing_stage(format!("{path}.stage"), stage),
            DomainStage::Path if self.config.stages.is_empty() && self.broken.is_empty() => {
                let problem =
                    Problem::error(format!("{path}.stage_from"), "stages come from the path, and there is no stage");
                self.value(problem.help("write `stages: {release: {alias: prod}}`"));
            }
            _ => {}
        }
        self.routes(&format!("{path}.routes"), &domain.routes, &domain.stage, only);
    }

    pub(super) fn triggers(&mut self, only: Option<&FunctionName>) {
        let triggers = self.config.triggers.clone();
        self.routes("triggers", &triggers, &DomainStage::None, only);
    }

    fn routes(&mut self, path: &str, routes: &[Route], stage: &DomainStage, only: Option<&FunctionName>) {
        if routes.len() > 1 && only.is_none() {
            self.collisions(path, routes);
        }
        for (index, route) in routes.iter().enumerate() {
            if only.is_none_or(|only| route.function == *only) {
                self.route(&format!("{path}[{index}]"), route, stage);
            }
        }
    }

    fn route(&mut self, path: &str, route: &Route, stage: &DomainStage) {
        if let Some(stage) = &route.stage {
            self.existing_stage(format!("{path}.stage"), stage);
        }
        let named = match (&route.stage, stage) {
            (Some(stage), _) | (None, DomainStage::Named(stage)) => Some(stage),
            (None, DomainStage::None) => None,
            (None, DomainStage::Path) => {
                let before = self.found.len();
                for stage in self.config.stages.keys() {
                    self.destination(path, route, Some(stage), Severity::Warning);
                }
                // A problem that is the same in every stage is told once.
                let mut found = self.found.split_off(before);
                found.dedup_by(|found, before| found.problem == before.problem);
                self.found.append(&mut found);
                return;
            }
        };
        self.destination(path, route, named, Severity::Error);
    }

    /// Where a route leads in a stage. `severity` is that of an alias which the stage names and the function lacks.
    fn destination(&mut self, path: &str, route: &Route, stage_name: Option<&StageName>, severity: Severity) {
        let key = (route.function.clone(), route.qualifier.clone(), stage_name.cloned());
        if self.right.contains(&key) {
            return;
        }
        let before = self.found.len();
        let to = format!("{path}.to");
        let config = self.config;
        let Some(function) = self.existing_function(&to, &route.function, false) else { return };
        let stage = match stage_name {
            Some(name) => match config.stages.get(name) {
                Some(stage) => Some((name, &**stage)),
                None => return,
            },
            None => None,
        };
        let qualifier = match (&route.qualifier, stage) {
            (Some(qualifier), _) => Some(qualifier.clone()),
            (None, Some((name, stage))) => self.stage_alias(&to, route, function, (name, stage), severity),
            (None, None) => Some(Qualifier::Alias(AliasName::default_alias())),
        };
        if let Some(qualifier) = qualifier {
            self.qualifier(&to, route, function, &qualifier, stage);
        }
        if self.found.len() == before {
            self.right.insert(key);
        }
    }

    /// The alias that a stage gives a function; `None` when it has none or a problem was found.
    fn stage_alias(
        &mut self,
        to: &str,
        route: &Route,
        function: &Function,
        (name, stage): (&StageName, &Stage),
        severity: Severity,
    ) -> Option<Qualifier> {
        let exception = stage.functions.get(&route.function);
        let alias = exception.unwrap_or(&stage.alias).render(&stage.variables).ok()?.parse::<AliasName>().ok()?;
        let Some(problem) = self.missing_alias(&route.function, function, &alias) else {
            return function.aliases.contains_key(&alias).then_some(Qualifier::Alias(alias));
        };
        // What an exception lacks is reported at the stage.
        if exception.is_none() {
            let message = format!("{}, which the stage `{name}` gives it", problem.message);
            let help = format!(
                "add the alias, or an exception: `stages.{name}.functions: {{{}: ALIAS}}`{}",
                route.function,
                function.aliases.keys().next().map_or(String::new(), |alias| format!(" (for example `{alias}`)"))
            );
            self.value(Problem { severity, path: to.to_owned(), message, help: Some(help), at: None, code: None });
        }
        None
    }

    /// A qualifier exists, and its versions find the stage variables that they need.
    fn qualifier(
        &mut self,
        to: &str,
        route: &Route,
        function: &Function,
        qualifier: &Qualifier,
        stage: Option<(&StageName, &Stage)>,
    ) {
        let name = &route.function;
        let missing = match qualifier {
            Qualifier::Version(id) => self.usable(&join("functions", name.as_str()), name, function, *id),
            Qualifier::Alias(alias) => self.missing_alias(name, function, alias),
        };
        if let Some(problem) = missing {
            self.value(Problem { path: to.to_owned(), ..problem });
            return;
        }
        for id in versions_of(function, qualifier).unwrap_or_default() {
            let Some(version) = function.version(id) else { continue };
            let lacks = |variable: &&str| stage.is_none_or(|(_, stage)| !stage.variables.contains_key(*variable));
            let Some(variable) = variables(version).find(lacks) else { continue };
            let message = format!("version {id} of `{name}` needs the stage variable `{variable}`");
            self.value(match stage {
                Some((stage, _)) => {
                    let message = format!("{message}, which the stage `{stage}` does not set");
                    Problem::error(to, message).help(format!("write `stages.{stage}.variables: {{{variable}: VALUE}}`"))
                }
                None => {
                    let problem = Problem::error(to, format!("{message}, and no stage leads here"));
                    problem.help("give the domain or the route a `stage`")
                }
            });
        }
    }

    fn existing_stage(&mut self, path: String, name: &StageName) {
        if self.config.stages.contains_key(name) || self.is_broken(&join("stages", name.as_str())) {
            return;
        }
        if self.config.is_unread(&format!("stage/{name}")) {
            self.value(Problem { path, ..unread(&format!("the stage `{name}`")) });
            return;
        }
        let names = self.config.stages.keys().map(|name| name.as_str());
        let problem = Problem::error(path, format!("the stage `{name}` does not exist"));
        self.value(problem.help(suggestion(name.as_str(), names, "stage")));
    }

    /// Routes of which only one can ever answer.
    fn collisions(&mut self, path: &str, routes: &[Route]) {
        let mut order: Vec<usize> = (0..routes.len()).collect();
        order.sort_by(|a, b| shape(&routes[*a]).cmp(&shape(&routes[*b])).then(a.cmp(b)));
        for group in order.chunk_by(|a, b| routes[*a].path.same_paths(&routes[*b].path)) {
            self.same_paths(path, routes, group);
        }
    }

    /// Routes with the same paths, ascending by index: methods must differ.
    fn same_paths(&mut self, path: &str, routes: &[Route], group: &[usize]) {
        for (position, index) in group.iter().enumerate() {
            let route = &routes[*index];
            for earlier in &group[..position] {
                let message = match (&routes[*earlier].methods, &route.methods) {
                    (None, None) => format!("this route takes the same paths as routes[{earlier}]: `{}`", route.path),
                    (Some(theirs), Some(ours)) => match ours.iter().find(|method| theirs.contains(method)) {
                        Some(method) => {
                            format!("this route takes {method} `{}`, which routes[{earlier}] takes", route.path)
                        }
                        None => continue,
                    },
                    _ => continue,
                };
                let problem = Problem::error(format!("{path}[{index}].path"), message);
                self.value(problem.help("remove one of the two, or tell them apart by `path` or `methods`"));
                break;
            }
        }
        let taken: Vec<&String> = group.iter().filter_map(|index| routes[*index].methods.as_ref()).flatten().collect();
        let all_taken = COMMON_METHODS.iter().all(|method| taken.iter().any(|taken| taken == method));
        if let (true, Some(index)) = (all_taken, group.iter().find(|index| routes[**index].methods.is_none())) {
            let message = format!(
                "this route is hardly ever reached: others take every common method of `{}`",
                routes[*index].path
            );
            let warning = Problem::warning(format!("{path}[{index}].path"), message);
            self.value(warning.help("remove it, or the methods of the others"));
        }
    }
}

/// The path without the names of its parameters.
fn shape(route: &Route) -> Vec<&str> {
    route.path.as_str().split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect()
}
