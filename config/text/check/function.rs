//! References inside a function, and from stages to functions.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::model::{Alias, Function, Plan, Stage};
use crate::text::check::{Check, suggestion};
use crate::text::problem::{Code, Problem};
use crate::text::yaml::join;
use crate::value::name::{AliasName, FunctionName, StageName, VersionId};
use crate::value::template::Template;

impl<'a> Check<'a> {
    /// The labels and aliases of a function: their versions exist and are in use, their plans exist.
    pub(super) fn function(&mut self, name: &FunctionName, function: &Function) {
        let path = join("functions", name.as_str());
        self.unique_labels(&path, function);
        for (alias_name, alias) in &function.aliases {
            self.alias(&path, name, function, alias_name, alias);
        }
    }

    fn unique_labels(&mut self, path: &str, function: &Function) {
        let mut seen: BTreeMap<&str, VersionId> = BTreeMap::new();
        let draft = function.draft.iter().map(|draft| (VersionId::Latest, draft));
        let numbered = function.versions.iter().map(|(number, version)| (VersionId::Number(*number), version));
        for (id, version) in numbered.chain(draft) {
            let Some(label) = version.label.as_deref() else { continue };
            if let Some(first) = seen.insert(label, id) {
                let path = match id {
                    VersionId::Number(number) => format!("{path}.versions.{number}.label"),
                    VersionId::Latest => format!("{path}.draft.label"),
                };
                let message = format!("the label `{label}` is on the versions {first} and {id}");
                self.value(Problem::error(path, message).help("a label names one version of a function"));
            }
        }
    }

    fn alias(
        &mut self,
        function_path: &str,
        name: &FunctionName,
        function: &Function,
        alias_name: &AliasName,
        alias: &Alias,
    ) {
        let path = join(&format!("{function_path}.aliases"), alias_name.as_str());
        for (version, _) in alias.split.parts() {
            if let Some(problem) = self.usable(function_path, name, function, *version) {
                self.key(Problem { path: format!("{path}.split.{version}"), ..problem });
            }
        }
        for (index, rule) in alias.rules.iter().enumerate() {
            if let Some(problem) = self.usable(function_path, name, function, rule.version) {
                self.value(Problem { path: format!("{path}.rules[{index}].version"), ..problem });
            }
        }
        if let Some(problem) = alias.stable.and_then(|stable| self.usable(function_path, name, function, stable)) {
            self.value(Problem { path: format!("{path}.stable"), ..problem });
        }
        let Some(plan) = &alias.plan else { return };
        if self.config.is_unread(&format!("plan/{plan}")) {
            self.value(Problem { path: format!("{path}.plan"), ..unread(&format!("the plan `{plan}`")) });
            return;
        }
        let known = self.config.plans.contains_key(plan) || Plan::predefined(plan.as_str()).is_some();
        if !known && !self.is_broken(&join("plans", plan.as_str())) {
            let names = self
                .config
                .plans
                .keys()
                .map(|name| name.as_str())
                .chain(crate::model::predefined_names().map(|name| -> &str { name }));
            let problem = Problem::error(format!("{path}.plan"), format!("the plan `{plan}` does not exist"));
            self.value(problem.help(suggestion(plan.as_str(), names, "plan")));
        }
    }

    /// What keeps an alias or a route from naming a version, if anything; without a path.
    pub(super) fn usable(
        &self,
        function_path: &str,
        name: &FunctionName,
        function: &Function,
        id: VersionId,
    ) -> Option<Problem> {
        let path = match id {
            VersionId::Number(number) => format!("{function_path}.versions.{number}"),
            VersionId::Latest => format!("{function_path}.draft"),
        };
        match function.version(id) {
            Some(version) if version.retired => {
                let problem = Problem::error("", format!("version {id} of `{name}` is retired"));
                Some(problem.help(format!("choose another version, or remove `retired` from `{path}`")))
            }
            Some(_) => None,
            None if self.is_broken(&path) => None,
            None if function.is_unread_version(id) => {
                let what = if id == VersionId::Latest { "the draft".to_owned() } else { format!("version {id}") };
                Some(unread(&format!("{what} of `{name}`")))
            }
            None if id == VersionId::Latest => {
                let problem = Problem::error("", format!("`{name}` has no draft, which `$LATEST` means"));
                Some(problem.help(format!("write `{path}`, or name a version")))
            }
            None => {
                let problem = Problem::error("", format!("version {id} of `{name}` does not exist"));
                let dropped = if let VersionId::Number(number) = id { function.dropped.get(&number) } else { None };
                Some(problem.help(match dropped {
                    Some(digest) => format!("it was dropped, and had the digest {digest}"),
                    None => self.existing(function_path, function),
                }))
            }
        }
    }

    /// A stage's own texts: its aliases are names once its variables are put in.
    pub(super) fn stage(&mut self, name: &StageName, stage: &Stage) {
        let path = join("stages", name.as_str());
        self.alias_template(format!("{path}.alias"), &stage.alias, &stage.variables);
        for (function, alias) in &stage.functions {
            self.alias_template(join(&format!("{path}.functions"), function.as_str()), alias, &stage.variables);
        }
    }

    fn alias_template(&mut self, path: String, template: &Template, variables: &BTreeMap<String, String>) {
        match template.render(variables) {
            Err(missing) => {
                let message = format!("the stage variable `{missing}` is not set in this stage");
                let help = suggestion(missing, variables.keys().map(String::as_str), "variable");
                self.value(Problem::error(path, message).help(help));
            }
            Ok(text) => {
                if let Err(error) = text.parse::<AliasName>()
                    && !template.is_unresolved()
                {
                    let source = template.source();
                    let when = if source == text { "" } else { " once its variables are put in" };
                    self.value(Problem::error(path, format!("`{source}` is not an alias name{when}: {error}")));
                }
            }
        }
    }

    /// The functions that a stage names beside its own alias.
    pub(super) fn exceptions(&mut self, name: &StageName, stage: &Stage, only: Option<&FunctionName>) {
        let path = join(&join("stages", name.as_str()), "functions");
        for (function_name, alias) in &stage.functions {
            if only.is_some_and(|only| only != function_name) {
                continue;
            }
            let path = join(&path, function_name.as_str());
            let Some(function) = self.existing_function(&path, function_name, true) else { continue };
            let Some(alias) = alias.render(&stage.variables).ok().and_then(|text| text.parse::<AliasName>().ok())
            else {
                continue;
            };
            if let Some(problem) = self.missing_alias(function_name, function, &alias) {
                self.value(Problem { path, ..problem });
            }
        }
    }

    /// The function, or a problem at `path`.
    pub(super) fn existing_function(&mut self, path: &str, name: &FunctionName, at_key: bool) -> Option<&'a Function> {
        if let Some(function) = self.config.functions.get(name) {
            return Some(function);
        }
        if !self.is_broken(&join("functions", name.as_str())) {
            let names = self.config.functions.keys().map(|name| name.as_str());
            let problem = Problem::error(path, format!("the function `{name}` does not exist"));
            let problem = problem.help(suggestion(name.as_str(), names, "function"));
            if at_key { self.key(problem) } else { self.value(problem) }
        }
        None
    }

    /// The problem that a function lacks an alias; without a path.
    pub(super) fn missing_alias(&self, name: &FunctionName, function: &Function, alias: &AliasName) -> Option<Problem> {
        let path = format!("{}.aliases", join("functions", name.as_str()));
        let built_in = *alias == AliasName::default_alias();
        let own = function.aliases.contains_key(alias) || (built_in && function.draft.is_some());
        if own && !function.is_unread_alias(alias) {
            return None;
        }
        let draft_broken = built_in && self.is_broken(&format!("{}.draft", join("functions", name.as_str())));
        if draft_broken || self.is_broken(&join(&path, alias.as_str())) {
            return None;
        }
        if function.is_unread_alias(alias) || (built_in && function.is_unread_version(VersionId::Latest)) {
            return Some(unread(&format!("the alias `{alias}` of `{name}`")));
        }
        if built_in {
            let problem = Problem::error("", format!("`{name}` has neither a draft nor an alias `$DEFAULT`"));
            return Some(problem.help(match function.aliases.keys().next() {
                Some(alias) => format!("name a qualifier, such as `{name}:{alias}`"),
                None => format!("name a version, such as `{name}:1`, or give the function an alias"),
            }));
        }
        let names = function.aliases.keys().map(|name| name.as_str());
        let problem = Problem::error("", format!("`{name}` has no alias `{alias}`"));
        Some(problem.help(suggestion(alias.as_str(), names, "alias")))
    }

    /// Which versions there are, those that could not be read included.
    fn existing(&self, function_path: &str, function: &Function) -> String {
        let prefix = format!("{function_path}.versions.");
        let broken = self.broken.iter().filter_map(|path| path.strip_prefix(&prefix)?.parse().ok());
        let mut numbers: Vec<NonZeroU32> = function.versions.keys().copied().chain(broken).collect();
        numbers.sort_unstable();
        let newest = numbers.iter().skip(numbers.len().saturating_sub(8)).map(ToString::to_string);
        let draft = function.draft.is_some().then(|| "$LATEST".to_owned());
        let ids: Vec<String> = newest.chain(draft).collect();
        match &ids[..] {
            [] => "the function has no version".to_owned(),
            [only] => format!("the only version is {only}"),
            _ => format!("the versions are {}", ids.join(", ")),
        }
    }
}

/// The problem of naming something whose stored text cannot be read; without a path.
pub(super) fn unread(what: &str) -> Problem {
    let problem = Problem::error("", format!("the stored text of {what} cannot be read"));
    let problem = problem.code(Code::Unreadable);
    problem.help("replace it whole, or delete it; `weir status` says why it cannot be read")
}
