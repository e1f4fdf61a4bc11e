//! A whole file that costs what differs from the one before: its functions and domains are read one by one, and those whose
//! text did not change are those that were read before.
//!
//! What cannot be read so, and every file with a mistake, is read whole: problems are always those of the whole text.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use sha2::{Digest as _, Sha256};

use crate::model::{Config, Domain, EnvironmentRules, Function};
use crate::text::check;
use crate::text::parse::function::{Functions, named_function};
use crate::text::parse::place::{Fields, Place, Reading};
use crate::text::parse::{Env, Parsed, Sections, config, domain, parse_whole};
use crate::text::problem::{Problem, Severity};
use crate::text::yaml::outline::{Outline, Part};
use crate::text::yaml::{Node, Value, join};
use crate::value::host::HostPattern;
use crate::value::name::FunctionName;

/// Calls a piece of work for each number below the first argument, on whatever threads, and returns when all is done.
pub type Spread<'s> = &'s dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// The sections that are taken apart.
const SECTIONS: [&str; 2] = ["functions", "domains"];
/// So many entries are one piece of work for a thread.
const PIECE: usize = 256;

/// A file as it was read last.
#[derive(Debug, Default)]
pub struct LastFile {
    environment: EnvironmentRules,
    functions: Functions,
    domains: OrdMap<HostPattern, Arc<Domain>>,
    /// Entries by the digest of their text.
    entries: HashMap<Sha, Entry>,
    /// The number of files that were read.
    round: u64,
    /// The last one in which a check of everything found nothing.
    sound: Option<Config>,
}

type Sha = [u8; 32];

/// An entry that was read.
#[derive(Debug)]
struct Entry {
    name: Name,
    /// In places of its own.
    warnings: Vec<Problem>,
    /// Names of the environment that it asked for, and what they stood for.
    asked: Vec<(String, Option<String>)>,
    /// The file in which it was last.
    round: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Function(FunctionName),
    Domain(HostPattern),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(name) => name.fmt(f),
            Self::Domain(host) => host.fmt(f),
        }
    }
}

/// An entry, and what it means.
struct ReadEntry {
    entry: Entry,
    meaning: Meaning,
}

enum Meaning {
    Function(Arc<Function>, Option<NonZeroU32>),
    Domain(Arc<Domain>),
}

/// An entry of a text, and the digest of it.
struct Digested<'t> {
    section: &'static str,
    part: Part<'t>,
    sha: Sha,
}

impl LastFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Every problem of the text, at least one of them an error.
    pub fn parse(&mut self, text: &str, env: Env<'_>) -> Parsed<Config> {
        let read = |parts: &[&Digested<'_>], rules: &EnvironmentRules| {
            parts.iter().map(|part| part.read(env, rules)).collect::<Option<Vec<_>>>()
        };
        self.parse_parts(text, env, read).map_or_else(|| parse_whole(text, env), Ok)
    }

    /// The same with entries read on several threads.
    ///
    /// # Errors
    /// As [`LastFile::parse`].
    pub fn parse_spread(
        &mut self,
        text: &str,
        env: &(dyn Fn(&str) -> Option<String> + Sync),
        spread: Spread<'_>,
    ) -> Parsed<Config> {
        let read = |parts: &[&Digested<'_>], rules: &EnvironmentRules| {
            let pieces: Vec<&[&Digested<'_>]> = parts.chunks(PIECE).collect();
            let done: Vec<OnceLock<Option<Vec<ReadEntry>>>> = pieces.iter().map(|_| OnceLock::new()).collect();
            spread(pieces.len(), &|index| {
                done[index].get_or_init(|| pieces[index].iter().map(|part| part.read(env, rules)).collect());
            });
            let pieces = done.into_iter().map(|piece| piece.into_inner().flatten()).collect::<Option<Vec<_>>>()?;
            Some(pieces.into_iter().flatten().collect())
        };
        self.parse_parts(text, env, read).map_or_else(|| parse_whole(text, env), Ok)
    }

    /// Reads a file part by part; `None` where it has to be read whole.
    fn parse_parts(
        &mut self,
        text: &str,
        env: Env<'_>,
        read: impl FnOnce(&[&Digested<'_>], &EnvironmentRules) -> Option<Vec<ReadEntry>>,
    ) -> Option<(Config, Vec<Problem>)> {
        let outline = Outline::of(text, &SECTIONS)?;
        let parts = digested(&outline);
        if parts.is_empty() {
            return None;
        }
        let root = outline.rest()?;
        let mut r = Reading::new(env);
        let sections = |fields: &mut Fields<'_>, r: &mut Reading<'_>| {
            let warnings = self.take(&parts, env, &r.environment, read)?;
            let warnings_of = |section: &str| {
                let own = parts.iter().zip(&warnings).filter(move |(part, _)| part.section == section);
                own.flat_map(|(_, warnings)| warnings.iter().cloned()).collect::<Vec<_>>()
            };
            let is_apart = |section: &str| parts.iter().any(|part| part.section == section);
            let functions = if is_apart("functions") {
                fields.take("functions");
                r.problems.extend(warnings_of("functions"));
                self.functions.clone()
            } else {
                Sections::functions(fields, r)
            };
            let stages = Sections::stages(fields, r);
            let domains = if is_apart("domains") {
                fields.take("domains");
                r.problems.extend(warnings_of("domains"));
                self.domains.clone()
            } else {
                Sections::domains(fields, r)
            };
            Some(Sections { functions, stages, domains })
        };
        let config = config(&Place::root(&root, ""), &mut r, sections)?;
        let (findings, is_sound) = check::check_file(&config, self.sound.as_ref());
        let is_wrong = |problem: &Problem| problem.severity == Severity::Error;
        if r.problems.iter().chain(findings.problems()).any(is_wrong) {
            return None;
        }
        if is_sound {
            self.sound = Some(config.clone());
        }
        let mut warnings = r.problems;
        if findings.problems().next().is_some() {
            let name = |part: &Digested<'_>| {
                self.entries.get(&part.sha).map_or_else(String::new, |entry| entry.name.to_string())
            };
            let root = with_entries(root, &parts, name, findings.problems())?;
            warnings.extend(findings.located(&root));
        }
        Some((config, warnings))
    }

    /// Takes these entries for those of the last file, reading what it did not have; answers the warnings of each in places of the
    /// whole text.
    fn take(
        &mut self,
        parts: &[Digested<'_>],
        env: Env<'_>,
        rules: &EnvironmentRules,
        read: impl FnOnce(&[&Digested<'_>], &EnvironmentRules) -> Option<Vec<ReadEntry>>,
    ) -> Option<Vec<Vec<Problem>>> {
        if self.environment != *rules {
            *self = Self { environment: rules.clone(), ..Self::default() };
        }
        self.round += 1;
        let round = self.round;
        let mut unknown = Vec::new();
        for part in parts {
            match self.entries.get_mut(&part.sha) {
                Some(entry) if entry.asked.iter().all(|(name, answer)| env(name) == *answer) => entry.round = round,
                _ => unknown.push(part),
            }
        }
        let new = read(&unknown, rules)?;
        let (mut functions, mut domains) = (self.functions.clone(), self.domains.clone());
        let names: HashSet<&Name> = new.iter().map(|read| &read.entry.name).collect();
        let is_gone = |entry: &&Entry| entry.round != round && !names.contains(&entry.name);
        for entry in self.entries.values().filter(is_gone) {
            match &entry.name {
                Name::Function(name) => {
                    functions.0.remove(name);
                    functions.1.remove(name);
                }
                Name::Domain(host) => drop(domains.remove(host)),
            }
        }
        for ReadEntry { entry, meaning } in &new {
            match (&entry.name, meaning) {
                (Name::Function(name), Meaning::Function(function, number)) => {
                    functions.0.insert(name.clone(), Arc::clone(function));
                    match number {
                        Some(number) => functions.1.insert(name.clone(), *number),
                        None => functions.1.remove(name),
                    };
                }
                (Name::Domain(host), Meaning::Domain(domain)) => {
                    domains.insert(host.clone(), Arc::clone(domain));
                }
                _ => return None,
            }
        }
        // The same name twice, or in two spellings.
        if functions.0.len() + domains.len() != parts.len() {
            return None;
        }
        drop(names);
        (self.functions, self.domains) = (functions, domains);
        self.entries.retain(|_, entry| entry.round == round);
        for (part, ReadEntry { mut entry, .. }) in unknown.into_iter().zip(new) {
            entry.round = round;
            self.entries.insert(part.sha, entry);
        }
        let warnings = |part: &Digested<'_>| {
            let own = self.entries.get(&part.sha).map_or(&[][..], |entry| &entry.warnings);
            own.iter()
                .map(|problem| Problem { at: problem.at.map(|at| part.part.place(at)), ..problem.clone() })
                .collect()
        };
        Some(parts.iter().map(warnings).collect())
    }
}

impl Digested<'_> {
    /// Reads the entry; `None` where there is a problem with it.
    fn read(&self, env: Env<'_>, rules: &EnvironmentRules) -> Option<ReadEntry> {
        let root = self.part.read()?;
        let asked = RefCell::default();
        let answer = |name: &str| {
            let answer = env(name);
            RefCell::<Vec<_>>::borrow_mut(&asked).push((name.to_owned(), answer.clone()));
            answer
        };
        let mut r = Reading { environment: rules.clone(), ..Reading::new(&answer) };
        let section = Place::root(&root, self.section);
        let place = section.entries(&mut r, "").pop()?;
        let (name, meaning) = if self.section == "functions" {
            let (name, function, number) = named_function(&place, &mut r)?;
            (Name::Function(name), Meaning::Function(Arc::new(function), number))
        } else {
            let (host, domain) = domain::named_domain(&place, &mut r)?;
            (Name::Domain(host), Meaning::Domain(Arc::new(domain)))
        };
        let is_sound = r.broken.is_empty() && r.problems.iter().all(|problem| problem.severity == Severity::Warning);
        let warnings = r.problems;
        let entry = Entry { name, warnings, asked: asked.into_inner(), round: 0 };
        is_sound.then_some(ReadEntry { entry, meaning })
    }
}

fn digested<'t>(outline: &Outline<'t>) -> Vec<Digested<'t>> {
    let parts = outline.sections.iter().flat_map(|section| section.parts.iter().map(|part| (section.name, *part)));
    let digested = parts.map(|(section, part)| {
        let sha = Sha256::new().chain_update(section).chain_update([0]).chain_update(part.text).finalize();
        Digested { section, part, sha: sha.into() }
    });
    digested.collect()
}

/// The tree of the rest with those entries that the paths of these problems name. `names` are those of all entries.
fn with_entries<'p>(
    root: Node,
    parts: &[Digested<'_>],
    names: impl Fn(&Digested<'_>) -> String,
    problems: impl Iterator<Item = &'p Problem>,
) -> Option<Node> {
    let named: HashSet<&str> = problems.map(|problem| entry_of(&problem.path)).collect();
    let Value::Mapping(mut entries) = root.value else { return None };
    for (key, node) in &mut entries {
        let mut own = parts.iter().filter(|part| part.section == key.text).peekable();
        if own.peek().is_some() {
            let read =
                own.filter(|part| named.contains(&*join(part.section, &names(part)))).map(|part| part.part.entry());
            node.value = Value::Mapping(read.collect::<Option<_>>()?);
        }
    }
    Some(Node { value: Value::Mapping(entries), ..root })
}

/// The beginning of a path that names an entry of a section: `functions.shop`, `domains."shop.example.com"`.
fn entry_of(path: &str) -> &str {
    let start = path.find('.').map_or(path.len(), |dot| dot + 1);
    let length = match path[start..].strip_prefix('"') {
        Some(name) => name.find('"').map(|end| end + 2),
        None => path[start..].find(['.', '[']),
    };
    length.map_or(path, |length| &path[..start + length])
}

#[cfg(test)]
mod tests;
