//! What edits reach, and whether that fits together afterwards.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::model::{Alias, Config};
use crate::text::check;
use crate::text::edit::{Edit, errors};
use crate::text::problem::Problem;
use crate::text::yaml::join;
use crate::value::host::HostPattern;
use crate::value::name::{AliasName, FunctionName};

/// What edits are about.
#[derive(Default)]
pub(super) struct Touched<'e> {
    pub(super) functions: BTreeSet<&'e FunctionName>,
    hosts: BTreeSet<&'e HostPattern>,
    others: bool,
}

impl<'e> Touched<'e> {
    pub(super) fn by(edits: &'e [Edit]) -> Self {
        let mut touched = Self::default();
        for edit in edits {
            match edit {
                Edit::CreateFunction(name)
                | Edit::NewFunction(name)
                | Edit::DeleteFunction(name)
                | Edit::Function(name, _)
                | Edit::RaiseNumber(name, _)
                | Edit::MergeFunction(name, _)
                | Edit::Stored(name, _) => drop(touched.functions.insert(name)),
                Edit::Domain(host, _) | Edit::MergeDomain(host, _) => drop(touched.hosts.insert(host)),
                _ => touched.others = true,
            }
        }
        touched
    }

    /// Every problem that these edits made, but for warnings: what was wrong before is not theirs, unless they name it anew. A change
    /// of functions and domains alone costs what those are large.
    pub(super) fn check(&self, old: &Config, new: &Config) -> Vec<Problem> {
        let mut found = errors(if self.is_much() {
            check::check(new)
        } else {
            let of_functions = self.functions.iter().flat_map(|name| check::check_function(old, new, name));
            of_functions.chain(self.hosts.iter().flat_map(|host| check::check_domain(new, host))).collect()
        });
        if !found.is_empty() {
            let before = self.wrong_before(old);
            let raised: BTreeSet<String> = self.functions.iter().flat_map(|name| raised(old, new, name)).collect();
            found.retain(|problem| raised.contains(&problem.path) || !before.contains(&key(problem)));
        }
        found
    }

    fn is_much(&self) -> bool {
        self.others || self.functions.len() + self.hosts.len() > check::MANY
    }

    /// What was wrong with everything that the check looks at.
    fn wrong_before(&self, old: &Config) -> HashSet<(String, String)> {
        let found = if self.is_much() {
            check::check(old)
        } else {
            let of_functions = self.functions.iter().flat_map(|name| check::check_all_of_function(old, name));
            of_functions.chain(self.hosts.iter().flat_map(|host| check::check_domain(old, host))).collect()
        };
        found.iter().map(key).collect()
    }
}

fn key(problem: &Problem) -> (String, String) {
    (problem.path.clone(), problem.message.clone())
}

/// The paths of the parts of splits that have a higher weight than before: whoever raises a version names it anew.
fn raised(old: &Config, new: &Config, name: &FunctionName) -> Vec<String> {
    let Some(function) = new.functions.get(name) else { return Vec::new() };
    let before = old.functions.get(name);
    let path = format!("{}.aliases", join("functions", name.as_str()));
    let of_alias = |(alias_name, alias): (&AliasName, &Arc<Alias>)| {
        let before = before.and_then(|function| function.aliases.get(alias_name)).map(|alias| alias.split.clone());
        let weight = |version| before.as_ref()?.parts().iter().find(|part| part.0 == version).map(|part| part.1);
        let parts = alias.split.parts().iter().filter(|(version, now)| weight(*version).is_none_or(|then| then < *now));
        let path = join(&path, alias_name.as_str());
        parts.map(|(version, _)| format!("{path}.split.{version}")).collect::<Vec<_>>()
    };
    function.aliases.iter().flat_map(of_alias).collect()
}
