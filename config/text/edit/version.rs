//! Edits of versions: what one froze never changes, and its number is never given out again.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Config, Endpoint, Function, Target, Version};
use crate::text::edit::not_found;
use crate::text::problem::{Code, Problem};
use crate::text::yaml::join;
use crate::text::{check, diff};
use crate::value::digest::Digest;
use crate::value::line::{is_label, is_line};
use crate::value::name::{AliasName, FunctionName, Qualifier, VersionId};

type Edited = Result<(), Vec<Problem>>;

/// The versions of one function and its counter, while one edit is applied.
pub(super) struct Versions<'a> {
    /// `functions.NAME`
    pub(super) path: &'a str,
    pub(super) name: &'a FunctionName,
    pub(super) function: &'a mut Function,
    pub(super) numbers: &'a mut OrdMap<FunctionName, NonZeroU32>,
}

impl Versions<'_> {
    /// The numbered versions, of this function alone from now on.
    fn versions(&mut self) -> &mut BTreeMap<NonZeroU32, Arc<Version>> {
        Arc::make_mut(&mut self.function.versions)
    }

    pub(super) fn draft(self, to: Option<&Arc<Version>>) -> Edited {
        if to.is_none() && self.function.draft.is_none() {
            return Err(vec![not_found(format!("{}.draft", self.path), format!("`{}` has no draft", self.name))]);
        }
        self.function.draft = to.cloned();
        Ok(())
    }

    pub(super) fn put(mut self, number: NonZeroU32, to: &Arc<Version>) -> Edited {
        let to = match self.function.versions.get(&number) {
            Some(now) => Arc::new(successor(&self.path_of(number), now, to)?),
            None => {
                // One that cannot be read is replaced whole; nobody can tell what it froze.
                if !self.function.is_unread_version(VersionId::Number(number)) {
                    self.unused(number, to)?;
                }
                if self.function.dropped.contains_key(&number) {
                    Arc::make_mut(&mut self.function.dropped).remove(&number);
                }
                raise(self.numbers, self.name, number);
                Arc::clone(to)
            }
        };
        self.versions().insert(number, to);
        Ok(())
    }

    pub(super) fn delete(mut self, number: NonZeroU32) -> Edited {
        self.versions().remove(&number).map(drop).ok_or_else(|| vec![self.missing(number)])
    }

    pub(super) fn drop_version(mut self, number: NonZeroU32) -> Edited {
        let version = self.versions().remove(&number).ok_or_else(|| vec![self.missing(number)])?;
        Arc::make_mut(&mut self.function.dropped).insert(number, version.digest);
        Ok(())
    }

    pub(super) fn publish(
        mut self,
        from: Option<NonZeroU32>,
        label: Option<&String>,
        description: Option<&String>,
        expected: Option<Digest>,
    ) -> Edited {
        self.valid_label(self.path, label)?;
        self.valid_description(self.path, description)?;
        let source = match from {
            Some(number) => self.function.versions.get(&number).ok_or_else(|| vec![self.missing(number)])?,
            None => self.function.draft.as_ref().ok_or_else(|| {
                let problem = not_found(format!("{}.draft", self.path), format!("`{}` has no draft", self.name));
                vec![problem.help("write a draft first, or name the version to publish again")]
            })?,
        };
        if let Some(expected) = expected.filter(|expected| *expected != source.digest) {
            let message = format!("what is to be published has the digest {}, not {expected}", source.digest);
            let problem = Problem::error(self.path, message).code(Code::DigestMismatch);
            return Err(vec![problem.help("look at it again: it was changed in between")]);
        }
        let source = Version::clone(source).sealed();
        if let Some((&version, _)) = self.function.versions.last_key_value().filter(|(_, v)| v.digest == source.digest)
        {
            let message = format!("nothing changed since version {version} of `{}`, the newest one", self.name);
            return Err(vec![Problem::error(self.path, message).code(Code::VersionUnchanged { version })]);
        }
        let number = self.next().ok_or_else(|| {
            vec![Problem::error(self.path, format!("`{}` has used every number up to {}", self.name, u32::MAX))]
        })?;
        let description = description.cloned().or_else(|| source.description.clone());
        let version = Version { label: label.cloned(), description, retired: false, ..source };
        self.versions().insert(number, Arc::new(version));
        raise(self.numbers, self.name, number);
        Ok(())
    }

    pub(super) fn label(self, number: NonZeroU32, label: Option<&String>) -> Edited {
        self.valid_label(&self.path_of(number), label)?;
        self.change(number, |version| version.label = label.cloned())
    }

    pub(super) fn describe(self, number: NonZeroU32, description: Option<&String>) -> Edited {
        self.valid_description(&self.path_of(number), description)?;
        self.change(number, |version| version.description = description.cloned())
    }

    pub(super) fn relocate(self, number: NonZeroU32, endpoints: &[Endpoint]) -> Edited {
        let path = format!("{}.endpoints", self.path_of(number));
        if matches!(self.function.versions.get(&number), Some(version) if matches!(version.target, Target::Response(_)))
        {
            let problem = Problem::error(path, format!("version {number} is a fixed response: it has no endpoints"));
            return Err(vec![problem.code(Code::Immutable)]);
        }
        if endpoints.is_empty() || (1..endpoints.len()).any(|n| endpoints[..n].contains(&endpoints[n])) {
            return Err(vec![Problem::error(path, "a version has at least one endpoint, and none twice")]);
        }
        self.change(number, |version| {
            if let Target::Upstream(upstream) = &mut version.target {
                upstream.endpoints = endpoints.to_vec();
            }
        })
    }

    /// Changes what is not frozen.
    pub(super) fn change(mut self, number: NonZeroU32, change: impl FnOnce(&mut Version)) -> Edited {
        match self.versions().get_mut(&number) {
            Some(version) => change(Arc::make_mut(version)),
            None => return Err(vec![self.missing(number)]),
        }
        Ok(())
    }

    fn valid_label(&self, path: &str, label: Option<&String>) -> Edited {
        match label {
            Some(label) if !is_label(label) => {
                let problem = Problem::error(format!("{path}.label"), "this is not a label");
                let help = "a label is a word that is no number, without `:` and spaces, and does not start with `$`";
                Err(vec![problem.help(help)])
            }
            _ => Ok(()),
        }
    }

    fn valid_description(&self, path: &str, description: Option<&String>) -> Edited {
        match description {
            Some(text) if !is_line(text) => {
                let message = "expected one line of 1 to 1024 characters without control characters";
                Err(vec![Problem::error(format!("{path}.description"), message)])
            }
            _ => Ok(()),
        }
    }

    /// The number of the next version.
    fn next(&self) -> Option<NonZeroU32> {
        let highest = self.function.versions.keys().next_back().max(self.numbers.get(self.name));
        highest.map_or(Some(NonZeroU32::MIN), |number| number.checked_add(1))
    }

    /// Checks that the number may be given to this version.
    fn unused(&self, number: NonZeroU32, to: &Version) -> Edited {
        if let Some(digest) = self.function.dropped.get(&number) {
            if *digest == to.digest {
                return Ok(());
            }
            let message = format!("version {number} of `{}` was dropped, and had the digest {digest}", self.name);
            let problem = Problem::error(self.path_of(number), message).code(Code::NumberUsed);
            return Err(vec![problem.help("a dropped version comes back only as it was: publish this as a new one")]);
        }
        if self.next().is_some_and(|next| number >= next) {
            return Ok(());
        }
        let message =
            format!("the number {number} of `{}` was given out before, and is never given out again", self.name);
        let problem = Problem::error(self.path_of(number), message).code(Code::NumberUsed);
        Err(vec![match self.next() {
            Some(next) => problem.help(format!("the next number is {next}")),
            None => problem,
        }])
    }

    fn missing(&self, number: NonZeroU32) -> Problem {
        let problem = not_found(self.path_of(number), format!("`{}` has no version {number}", self.name));
        match self.function.dropped.get(&number) {
            Some(digest) => problem.help(format!("it was dropped, and had the digest {digest}")),
            None => problem,
        }
    }

    fn path_of(&self, number: NonZeroU32) -> String {
        format!("{}.versions.{number}", self.path)
    }
}

/// `now` with what `to` says about it, if that may change.
fn successor(path: &str, now: &Version, to: &Version) -> Result<Version, Vec<Problem>> {
    let mut problems: Vec<Problem> = diff::frozen_differences(now, to)
        .map(|field| {
            let problem = Problem::error(format!("{path}.{field}"), "a version never changes");
            problem.code(Code::Immutable).help(
                "publish a new version; only where it runs, its label, its description and its retirement may change",
            )
        })
        .collect();
    if problems.is_empty() && to.digest != now.digest && to.digest != Digest::of(to) {
        let message = format!("the digest of this version is {}", now.digest);
        problems.push(Problem::error(format!("{path}.digest"), message).code(Code::DigestMismatch));
    }
    if problems.is_empty() { Ok(Version { digest: now.digest, ..to.clone() }) } else { Err(problems) }
}

/// From here on the next number is above `number`.
pub(crate) fn raise(numbers: &mut OrdMap<FunctionName, NonZeroU32>, name: &FunctionName, number: NonZeroU32) {
    if numbers.get(name).is_none_or(|highest| *highest < number) {
        numbers.insert(name.clone(), number);
    }
}

/// What went out of use from one configuration to the next and is still named: one problem for each, with every name.
pub(super) fn still_named(old: &Config, new: &Config, name: &FunctionName) -> Vec<Problem> {
    let Some(before) = old.functions.get(name) else { return Vec::new() };
    let path = join("functions", name.as_str());
    let refused = |path: String, what: String, names: Vec<String>| {
        (!names.is_empty()).then(|| {
            let message = format!("{what} is still in use by {}", names.join(", "));
            Problem::error(path, message).code(Code::Referenced)
        })
    };
    let Some(after) = new.functions.get(name) else {
        return refused(path, format!("`{name}`"), check::references_to_function(new, name)).into_iter().collect();
    };
    // What cannot be read may be named, and is in use for all that is known.
    let usable = |function: &Function, id| {
        function.version(id).is_some_and(|version| !version.retired) || function.is_unread_version(id)
    };
    let unread = before.unread.iter().filter_map(|part| match part {
        Qualifier::Version(id) => Some(*id),
        Qualifier::Alias(_) => None,
    });
    let is_same = Arc::ptr_eq(&before.versions, &after.versions);
    let ids = before.versions.keys().filter(|_| !is_same).copied().map(VersionId::Number).chain([VersionId::Latest]);
    let ids = ids.chain(unread.filter(|id| *id != VersionId::Latest));
    let gone = ids.filter(|id| usable(before, *id) && !usable(after, *id));
    let problem = |id: VersionId| match id {
        VersionId::Latest => {
            refused(format!("{path}.draft"), format!("the draft of `{name}`"), check::references(new, name, id))
        }
        VersionId::Number(_) => refused(
            format!("{path}.versions.{id}"),
            format!("version {id} of `{name}`"),
            check::references(new, name, id),
        ),
    };
    // `$DEFAULT` goes on without being written.
    let built_in = AliasName::default_alias();
    let unread = before.unread.iter().filter_map(|part| match part {
        Qualifier::Alias(alias) => Some(alias),
        Qualifier::Version(_) => None,
    });
    let is_there = |alias: &AliasName| after.aliases.contains_key(alias) || after.is_unread_alias(alias);
    let aliases = before.aliases.keys().chain(unread).filter(|alias| !is_there(alias) && **alias != built_in);
    let of_alias = |alias: &AliasName| {
        let named = check::references_to_alias(new, name, alias);
        refused(join(&format!("{path}.aliases"), alias.as_str()), format!("alias `{alias}` of `{name}`"), named)
    };
    gone.filter_map(problem).chain(aliases.filter_map(of_alias)).collect()
}
