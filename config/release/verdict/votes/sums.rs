//! The counter without votes: what moved buckets come to together, against what a draw of as many buckets would.

use super::BucketSide;
use super::round::CallerRound;

/// How strongly scores are weighed: small ones see small defects of many callers.
const WEIGHTS: [f64; 6] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6];

/// One look: an e-value of its own.
pub(super) struct SumsLook {
    ln: f64,
}

impl SumsLook {
    pub(super) fn new(round: &CallerRound, begun: &[u32], rate: f64) -> Self {
        Self { ln: ln_evidence(&round.scores(begun, rate)) }
    }

    /// The ln of what a stake of 1 comes to.
    pub(super) fn ln(&self) -> f64 {
        self.ln
    }
}

/// The mean over all weights of what the sum of moved scores is worth; the denominator is the mean over draws with replacement.
fn ln_evidence(scores: &[(BucketSide, f64)]) -> f64 {
    let mean = scores.iter().map(|(_, score)| score).sum::<f64>() / scores.len() as f64;
    let moved = scores.iter().filter(|(side, _)| *side == BucketSide::Moved);
    let (count, sum) = moved.fold((0.0, 0.0), |(n, sum), (_, score)| (n + 1.0, sum + score - mean));
    let each = WEIGHTS.map(|weight| {
        let average =
            scores.iter().map(|(_, score)| (weight * (score - mean)).exp()).sum::<f64>() / scores.len() as f64;
        weight * sum - count * average.ln()
    });
    let most = each.into_iter().fold(f64::NEG_INFINITY, f64::max);
    most + (each.map(|ln| (ln - most).exp()).iter().sum::<f64>() / WEIGHTS.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All draws of 3 of 7 buckets: the evidence is worth at most its stake on average.
    #[test]
    fn over_all_draws_the_evidence_is_worth_at_most_one() {
        let scores = [4.0, 1.1, -0.3, 0.0, 0.0, 2.2, -4.0];
        let draws: Vec<u32> = (0..1_u32 << scores.len()).filter(|draw| draw.count_ones() == 3).collect();
        let worth = |draw: &u32| {
            let side = |place: usize| if draw >> place & 1 == 1 { BucketSide::Moved } else { BucketSide::Staying };
            let sided: Vec<_> = scores.iter().enumerate().map(|(place, score)| (side(place), *score)).collect();
            ln_evidence(&sided).exp()
        };
        let mean = draws.iter().map(worth).sum::<f64>() / draws.len() as f64;
        assert!(mean <= 1.0 + 1e-12 && mean > 0.3, "{mean}");
    }
}
