//! What metrics show of rollouts: where those that run stand, and which verdicts were reached.

use std::sync::{Arc, Mutex};

use config::value::name::{AliasName, FunctionName};

use super::cell::Cell;
use super::series::{MAX_SERIES, Named, labels, lock};

labels! {
    /// What a verdict has come to.
    Judged {
        /// The candidate is worse than stable.
        Worse = "worse",
        /// It is no worse.
        NoWorse = "no_worse",
        /// The counts contradict the split.
        Void = "void",
    }
}

/// Where the rollout of one alias stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Of the member.
    pub function: FunctionName,
    /// Of the member.
    pub alias: AliasName,
    /// From 1.
    pub step: usize,
    /// The candidate's weight, basis points.
    pub weight: u16,
}

/// The series of rollouts. Locked when a rollout moves, when a verdict is reached, and for scraping.
#[derive(Default)]
pub(super) struct Rollouts {
    standings: Mutex<Vec<Standing>>,
    verdicts: Mutex<Named<(FunctionName, AliasName), Verdicts>>,
}

#[derive(Debug, Default)]
pub(super) struct Verdicts(pub(super) [Cell; Judged::LABELS.len()]);

impl Rollouts {
    pub(super) fn set(&self, mut standings: Vec<Standing>) {
        standings.truncate(MAX_SERIES);
        *lock(&self.standings) = standings;
    }

    pub(super) fn judged(&self, function: &FunctionName, alias: &AliasName, judged: Judged) {
        let verdicts: Arc<Verdicts> = lock(&self.verdicts).get((function.clone(), alias.clone()));
        verdicts.0[judged as usize].inc();
    }

    pub(super) fn each_standing(&self, see: impl FnMut(&Standing)) {
        lock(&self.standings).iter().for_each(see);
    }

    /// With the function and the alias; the last is of those beyond [`MAX_SERIES`], which have none.
    pub(super) fn each_verdict(&self, mut see: impl FnMut(Option<(&FunctionName, &AliasName)>, &Verdicts)) {
        let verdicts = lock(&self.verdicts);
        verdicts.each(|key, verdicts| see(key.map(|(function, alias)| (function, alias)), verdicts));
    }
}
