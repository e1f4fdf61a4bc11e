//! Whether the split did what its weights ask: a check of the sample ratio (Lindon and Malek, "Anytime-valid inference for
//! multinomial count data"), as a bet against the weights that is stratified by batch.

use serde::{Deserialize, Serialize};

use super::wealth::Wealth;
use crate::value::weight::Weight;

/// What is bet on: so many times the odds that the weights ask for.
const ALTERNATIVES: [f64; 6] = [0.5, 0.8, 0.95, 1.05, 1.25, 2.0];

/// Picks of both sides, held against the weights that they were asked with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) wealth: Wealth,
    /// Picks of both sides.
    pub(super) drawn: u64,
    pub(super) candidate: u64,
    /// How many of them the weights asked for the candidate.
    pub(super) asked: f64,
}

impl Share {
    pub(super) fn new() -> Self {
        Self { wealth: Wealth::new(&ALTERNATIVES), drawn: 0, candidate: 0, asked: 0.0 }
    }

    pub(super) fn observe(&mut self, weight: Weight, stable: u64, candidate: u64) {
        let share = f64::from(weight.basis_points()) / f64::from(Weight::WHOLE);
        // At both ends there is no split to be checked, only picks that began before the weight was set.
        if stable + candidate == 0 || share == 0.0 || share == 1.0 {
            return;
        }
        self.drawn += stable + candidate;
        self.candidate += candidate;
        self.asked += share * (stable + candidate) as f64;
        self.wealth.bet(|odds| {
            let whole = 1.0 - share + share * odds;
            candidate as f64 * odds.ln() - (stable + candidate) as f64 * whole.ln()
        });
    }
}
