//! Stored texts that cannot be read, and edits: what somebody replaces or deletes is no longer one of them, and an edit that would
//! need what one held is refused. No other edit touches them.

use std::sync::Arc;

use crate::model::{Config, Function};
use crate::text::edit::text_name::{TextName, is_part};
use crate::text::edit::{Edit, FunctionEdit, Merge, Stored};
use crate::text::problem::{Code, Problem};
use crate::text::yaml::join;
use crate::value::name::{AliasName, FunctionName, Qualifier, VersionId};

/// Says of a text that it is not, or no longer, one that cannot be read. True if it was.
pub(crate) fn forget(config: &mut Config, name: &str) -> bool {
    let was = config.unreadable.remove(name).is_some();
    if was
        && let Some(TextName::Part(function, part)) = TextName::parse(name)
        && let Some(function) = config.functions.get_mut(&function)
    {
        Arc::make_mut(function).unread.remove(&part);
    }
    was
}

/// Notes that edits replaced what could not be read, or deleted its function.
pub(super) fn settle(config: &mut Config) {
    let is_settled =
        |name: &TextName, config: &Config| name.is_replaced_in(config) || name.is_gone_with_function(config);
    let names = config.unreadable.keys().filter(|name| TextName::parse(name).is_some_and(|n| is_settled(&n, config)));
    for name in names.cloned().collect::<Vec<_>>() {
        forget(config, &name);
    }
}

/// The fields of the settings, as edits.
pub(crate) fn settings(config: &Config) -> [Edit; 5] {
    [
        Edit::Triggers(Arc::clone(&config.triggers)),
        Edit::BaseDomain(config.base_domain.clone()),
        Edit::Overrides(Arc::clone(&config.overrides)),
        Edit::TrustedProxies(Arc::clone(&config.trusted_proxies)),
        Edit::DefaultCertificate(config.default_certificate.clone()),
    ]
}

/// Takes note of edits of the settings: together they replace a text of them that cannot be read, and fewer would lose the rest.
///
/// # Errors
/// Some of the settings are edited, and not all.
pub(super) fn replace_settings(config: &mut Config, edits: &[Edit]) -> Result<(), Vec<Problem>> {
    if !config.is_unread("settings") {
        return Ok(());
    }
    let is = |wanted: fn(&Edit) -> bool| edits.iter().any(wanted);
    let edited = [
        is(|edit| matches!(edit, Edit::Triggers(_))),
        is(|edit| matches!(edit, Edit::BaseDomain(_))),
        is(|edit| matches!(edit, Edit::Overrides(_))),
        is(|edit| matches!(edit, Edit::TrustedProxies(_))),
        is(|edit| matches!(edit, Edit::DefaultCertificate(_))),
    ];
    if edited == [true; 5] {
        forget(config, "settings");
    } else if edited != [false; 5] {
        return Err(vec![unread("", "the stored settings")]);
    }
    Ok(())
}

/// Carries out an edit that deletes what cannot be read, or replaces what has a value without its text. True if that is all there is
/// to do.
///
/// # Errors
/// The edit needs what cannot be read.
pub(super) fn apply(config: &mut Config, edit: &Edit) -> Result<bool, Vec<Problem>> {
    if config.unreadable.is_empty() {
        return Ok(false);
    }
    Ok(match edit {
        Edit::Stage(name, None) => forget(config, &format!("stage/{name}")),
        Edit::Domain(host, None) => forget(config, &format!("domain/{host}")),
        Edit::Plan(name, None) => forget(config, &format!("plan/{name}")),
        Edit::Notifier(name, None) => forget(config, &format!("notifier/{name}")),
        Edit::MergeStage(name, merge) => is_deleted(merge) && forget(config, &format!("stage/{name}")),
        Edit::MergeDomain(host, merge) => is_deleted(merge) && forget(config, &format!("domain/{host}")),
        Edit::MergePlan(name, merge) => is_deleted(merge) && forget(config, &format!("plan/{name}")),
        Edit::MergeNotifier(name, merge) => is_deleted(merge) && forget(config, &format!("notifier/{name}")),
        Edit::RaiseNumber(name, _) => {
            forget(config, &format!("number/{name}"));
            false
        }
        Edit::MergeFunction(name, merge) => {
            of_text(config, name, merge);
            false
        }
        Edit::Function(name, edit) => of_function(config, name, edit)?,
        Edit::Stored(name, part) => {
            of_store(config, name, part);
            false
        }
        _ => false,
    })
}

/// What a store said once, which is taken as it is: also that something is not there.
fn of_store(config: &mut Config, name: &FunctionName, part: &Stored) {
    let text = match part {
        Stored::Function(_) => format!("function/{name}"),
        Stored::Number(_) => format!("number/{name}"),
        Stored::Draft(_) => format!("draft/{name}"),
        Stored::Version(number, _) => format!("version/{name}/{number}"),
        Stored::Dropped(number, _) => format!("dropped/{name}/{number}"),
        Stored::Alias(alias, _) => format!("alias/{name}/{alias}"),
        Stored::Layer(alias, _) => format!("layer/{name}/{alias}"),
        Stored::Past(alias, _) => format!("past/{name}/{alias}"),
    };
    forget(config, &text);
}

fn is_deleted<T>(merge: &Merge<T>) -> bool {
    merge.to.is_none()
}

/// The parts that a text has no more, and what belongs to the function alone if that changed.
fn of_text(config: &mut Config, name: &FunctionName, merge: &Merge<Function>) {
    let nothing = Function::default();
    let (from, to) = (merge.from.as_deref().unwrap_or(&nothing), merge.to.as_deref());
    let has = |function: &Function, part: &Qualifier| is_part(function, part);
    let unread = config.functions.get(name).map(|function| function.unread.clone()).unwrap_or_default();
    // A text never deletes a version.
    for part in unread.iter().filter(|part| !matches!(part, Qualifier::Version(VersionId::Number(_)))) {
        if to.is_none_or(|to| has(from, part) && !has(to, part)) {
            delete(config, name, part);
        }
    }
    if to.is_some_and(|to| merge.from.is_none() || from.settings() != to.settings()) {
        forget(config, &format!("function/{name}"));
    }
}

fn text_of(function: &FunctionName, part: &Qualifier) -> String {
    match part {
        Qualifier::Version(VersionId::Latest) => format!("draft/{function}"),
        Qualifier::Version(VersionId::Number(number)) => format!("version/{function}/{number}"),
        Qualifier::Alias(alias) => format!("alias/{function}/{alias}"),
    }
}

/// Deletes a part that cannot be read, with what belongs to it. False if it is not one.
fn delete(config: &mut Config, name: &FunctionName, part: &Qualifier) -> bool {
    if !forget(config, &text_of(name, part)) {
        return false;
    }
    if let Qualifier::Alias(alias) = part {
        forget(config, &format!("layer/{name}/{alias}"));
        forget(config, &format!("past/{name}/{alias}"));
        if let Some(function) = config.functions.get_mut(name) {
            let function = Arc::make_mut(function);
            function.layers.remove(alias);
            function.pasts.remove(alias);
        }
    }
    true
}

fn of_function(config: &mut Config, name: &FunctionName, edit: &FunctionEdit) -> Result<bool, Vec<Problem>> {
    let Some(function) = config.functions.get(name) else { return Ok(false) };
    let path = join("functions", name.as_str());
    let alias = |alias: &AliasName| {
        let path = join(&format!("{path}.aliases"), alias.as_str());
        let problem = || vec![unread(path, &format!("the stored text of the alias `{name}:{alias}`"))];
        if function.is_unread_alias(alias) { Err(problem()) } else { Ok(false) }
    };
    let version = |id: VersionId| {
        let (path, what) = match id {
            VersionId::Latest => (format!("{path}.draft"), format!("the stored text of the draft of `{name}`")),
            VersionId::Number(_) => {
                (format!("{path}.versions.{id}"), format!("the stored text of version {id} of `{name}`"))
            }
        };
        if function.is_unread_version(id) { Err(vec![unread(path, &what)]) } else { Ok(false) }
    };
    match edit {
        FunctionEdit::Draft(None) => Ok(delete(config, name, &Qualifier::Version(VersionId::Latest))),
        FunctionEdit::Version(number, None) => {
            Ok(delete(config, name, &Qualifier::Version(VersionId::Number(*number))))
        }
        FunctionEdit::Alias(alias, None) if *alias != AliasName::default_alias() => {
            Ok(delete(config, name, &Qualifier::Alias(alias.clone())))
        }
        FunctionEdit::Settings(_) => {
            forget(config, &format!("function/{name}"));
            Ok(false)
        }
        FunctionEdit::DropLayer { alias, .. } => {
            forget(config, &format!("layer/{name}/{alias}"));
            Ok(false)
        }
        FunctionEdit::CreateAlias(created, _) => {
            alias(created).map_err(|problems| problems.into_iter().map(|problem| problem.code(Code::Exists)).collect())
        }
        FunctionEdit::PatchAlias(named, _)
        | FunctionEdit::Shift(named, _)
        | FunctionEdit::RollBackAlias(named, ..)
        | FunctionEdit::SetLayer(named, _)
        | FunctionEdit::Promote { alias: named, .. } => alias(named),
        FunctionEdit::Label(number, _)
        | FunctionEdit::Describe(number, _)
        | FunctionEdit::Retire(number, _)
        | FunctionEdit::DropVersion(number)
        | FunctionEdit::Endpoints(number, _) => version(VersionId::Number(*number)),
        FunctionEdit::Publish { from, .. } => {
            version(from.map_or(VersionId::Latest, VersionId::Number))?;
            if config.is_unread(&format!("number/{name}")) {
                let problem = unread(path.clone(), &format!("the stored counter of version numbers of `{name}`"));
                return Err(vec![
                    problem.help("say in the file which number comes next, as `next: NUMBER` of the function"),
                ]);
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// The problem of an edit that needs what cannot be read.
pub(super) fn unread(path: impl Into<String>, what: &str) -> Problem {
    let problem = Problem::error(path, format!("{what} cannot be read, so nothing of it can be changed"));
    problem.code(Code::Unreadable).help("replace it whole, or delete it; `weir status` says why it cannot be read")
}
