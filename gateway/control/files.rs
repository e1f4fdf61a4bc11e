//! Files that a configuration names: whether they can be used is known before anything is stored.

use config::model::{Config, Target};
use config::problem::Problem;

use super::certificates;
use crate::upstreams::check_authorities;

/// The certificates and certificate authorities that `new` names beside `old`, and that cannot be used here.
pub(super) fn unusable(old: &Config, new: &Config) -> Vec<Problem> {
    let mut problems = certificates::load(old, new).err().unwrap_or_default();
    for (name, function) in new.functions_unlike(old) {
        for (number, version) in &function.versions {
            if let Target::Upstream(upstream) = &version.target
                && let Some(ca) = upstream.tls.as_ref().and_then(|tls| tls.ca.as_ref())
                && let Err(error) = check_authorities(ca)
            {
                let path = format!("functions.{name}.versions.{number}.tls.ca");
                problems.push(Problem::error(path, error.to_string()));
            }
        }
    }
    problems
}
