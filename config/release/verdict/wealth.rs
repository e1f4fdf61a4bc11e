//! The stake that bets against a hypothesis: a test (super)martingale. All logarithms are natural.

use serde::{Deserialize, Serialize};

/// What betting one against a hypothesis has come to. While the hypothesis holds, each bet's expected factor is at most 1, so that
/// the wealth ever reaches `n` with a chance of at most `1/n` (Ville's inequality), however often somebody looks.
///
/// The stake is spread over several alternatives, and part of it is kept back and joins them bet by bet. So a change that
/// comes late is bet on with fresh money, not with what an uneventful start has left over (a mixture over the time of the change).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Wealth {
    stakes: Vec<Stake>,
    /// Not yet bet, ln.
    reserve: f64,
    /// How many bets there were, and one.
    next: u64,
    /// The most it ever was, ln.
    peak: f64,
}

/// An alternative to the hypothesis, and the ln of what betting on it has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stake(f64, f64);

impl Wealth {
    /// Half of it on these alternatives, in equal parts; half in reserve.
    pub(super) fn new(alternatives: &[f64]) -> Self {
        let part = (0.5 / alternatives.len() as f64).ln();
        let stakes = alternatives.iter().map(|&alternative| Stake(alternative, part)).collect();
        Self { stakes, reserve: 0.5_f64.ln(), next: 1, peak: 0.0 }
    }

    /// One bet. `ln_factor` says, for an alternative, the ln of what a stake on it is multiplied by; its exponential has an
    /// expectation of at most 1 under the hypothesis, given all that was before.
    pub(super) fn bet(&mut self, ln_factor: impl Fn(f64) -> f64) {
        // Of the reserve, 1/4, then 1/6, 1/8: what bet n gets falls as n^-1.5, so that its logarithm stays small.
        let joining = 1.0 / (2.0 * (self.next as f64 + 1.0));
        let part = self.reserve + (joining / self.stakes.len() as f64).ln();
        for Stake(alternative, ln) in &mut self.stakes {
            *ln = ln_add(*ln, part) + ln_factor(*alternative);
        }
        self.reserve += (-joining).ln_1p();
        self.next += 1;
        self.peak = self.peak.max(self.ln());
    }

    /// The ln of all of it.
    pub(super) fn ln(&self) -> f64 {
        self.stakes.iter().fold(self.reserve, |sum, stake| ln_add(sum, stake.1))
    }

    /// The ln of the most that it ever was.
    pub(super) fn peak(&self) -> f64 {
        self.peak
    }
}

/// ln(exp(a) + exp(b)).
pub(super) fn ln_add(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fair_bet_that_says_nothing_leaves_the_wealth_at_one() {
        let mut wealth = Wealth::new(&[1.0, 2.0, 3.0]);
        (0..100_000).for_each(|_| wealth.bet(|_| 0.0));
        assert!(wealth.ln().abs() < 1e-9, "{}", wealth.ln());
    }

    #[test]
    fn wealth_lost_over_a_long_time_does_not_hide_a_late_change() {
        let mut wealth = Wealth::new(&[1.0]);
        (0..10_000).for_each(|_| wealth.bet(|_| -0.1));
        (0..9).for_each(|_| wealth.bet(|_| 2.3));
        assert!(wealth.peak() > 200_f64.ln(), "{}", wealth.peak());
    }
}
