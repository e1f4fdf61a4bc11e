//! Whether the intervals of a chart cover the truth at every second of ten minutes, and how wide they are.

use std::time::Duration;

use config::release::outcome::{LATENCY_BUCKETS, latency_bucket};
use config::release::verdict::interval::{Sums, difference, quantile};

use crate::random::Random;

/// Requests per second of stable and candidate.
const RATES: [u64; 2] = [180, 20];
const SECONDS: u64 = 600;

/// What one chart showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chart {
    /// Whether it ever missed the truth.
    pub(crate) missed: bool,
    /// Its width in points after 10, 100 and 600 seconds.
    pub(crate) widths: [f64; 3],
    /// The second from which on it lay above 0 first.
    pub(crate) above: Option<u64>,
}

/// The difference of failures, where stable and candidate fail so often, times between 0.1 and 1.9 with a period in seconds if there is one.
pub(crate) fn chart(rates: [f64; 2], period: Option<f64>, seed: u64) -> Chart {
    let mut random = Random::new(seed);
    let (mut sums, mut truth) = ([Sums::default(); 2], [0.0; 2]);
    let mut chart = Chart { missed: false, widths: [0.0; 3], above: None };
    for second in 1..=SECONDS {
        let swing = period.map_or(1.0, |period| 1.0 + 0.9 * (std::f64::consts::TAU * second as f64 / period).sin());
        for (((sums, truth), rate), requests) in sums.iter_mut().zip(&mut truth).zip(rates).zip(RATES) {
            *truth += rate * swing * requests as f64;
            sums.n += requests as f64;
            sums.bad += (0..requests).filter(|_| random.chance(rate * swing)).count() as f64;
        }
        let Some(shown) = difference(sums[0], sums[1]) else { continue };
        let real = truth[1] / sums[1].n - truth[0] / sums[0].n;
        let high = shown.high.unwrap_or(1.0);
        chart.missed |= real < shown.low || real > high;
        if shown.low > 0.0 {
            chart.above = chart.above.or(Some(second));
        }
        if let Some(place) = [10, 100, 600].iter().position(|at| *at == second) {
            chart.widths[place] = 100.0 * (high - shown.low);
        }
    }
    chart
}

/// Whether the interval of a p95 of lognormal answers (sigma 0.5) ever missed it, and its limits after 2 000 answers as parts of the truth.
pub(crate) fn p95(seed: u64) -> (bool, [f64; 2]) {
    let mut random = Random::new(seed);
    let mut latencies = [0; LATENCY_BUCKETS];
    let truth = 20.0 * (0.5 * 1.644_853_6_f64).exp();
    let (mut missed, mut at) = (false, [0.0; 2]);
    for second in 1..=SECONDS {
        for _ in 0..RATES[1] {
            let millis = 20.0 * (0.5 * random.normal()).exp();
            latencies[latency_bucket(Duration::from_secs_f64(millis / 1e3))] += 1;
        }
        let Some(shown) = quantile(&latencies, 950, 0.01) else { continue };
        missed |= truth < shown.low || shown.high.is_some_and(|high| truth > high);
        if second == 100 {
            at = [shown.low / truth, shown.high.unwrap_or(f64::INFINITY) / truth];
        }
    }
    (missed, at)
}
