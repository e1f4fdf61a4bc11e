//! Who may name programs: a hook's command runs as this process's user, so a plan that brings one needs more than the right to
//! change what is live.

use std::collections::BTreeSet;

use config::model::{Config, Plan};

use super::{Author, Refused};

/// Whether this author may bring every program that is in no plan yet.
///
/// # Errors
/// The first that they may not.
pub(super) fn admit(author: &Author, before: &Config, after: &Config, begun: Option<&Plan>) -> Result<(), Refused> {
    if author.may_run || begun.is_none() && before.plans.ptr_eq(&after.plans) {
        return Ok(());
    }
    let known: BTreeSet<&[String]> = before.plans.values().flat_map(|plan| plan.programs()).collect();
    let mut programs = after.plans.values().map(|plan| &**plan).chain(begun).flat_map(Plan::programs);
    match programs.find(|program| !known.contains(program)) {
        None => Ok(()),
        Some(program) => Err(Refused::Program(program.join(" "))),
    }
}
