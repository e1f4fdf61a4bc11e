//! What other tools would do with the same requests: their rules, as their documentation gives them, on counts by minute.

use config::release::outcome::Class;

use crate::keyless::Asked;

/// Requests and failures of one minute: stable's, then the candidate's.
pub(crate) type Minute = [[u64; 2]; 2];

/// A rule, and the second at which it sends the candidate back.
pub(crate) type Rule = (&'static str, fn(&[Minute]) -> Option<f64>);

/// Each with the threshold that an operator would choose for a base of 1 %: twice that.
pub(crate) const RULES: [Rule; 4] = [
    ("Flagger: every minute, five checks failed", flagger),
    ("Argo Rollouts: every minute, more than three failed", argo),
    ("Kayenta: Mann-Whitney over ten minutes, 98 %", kayenta),
    ("CodeDeploy: alarm over two periods of a minute", alarm),
];

const LIMIT: f64 = 0.02;

/// Adds a request to the minute in which it began.
pub(crate) fn count(minutes: &mut Vec<Minute>, asked: &Asked) {
    let minute = (asked.began / 60.0) as usize;
    minutes.resize(minutes.len().max(minute + 1), Minute::default());
    let side = &mut minutes[minute][usize::from(asked.is_candidate)];
    side[0] += 1;
    side[1] += u64::from(asked.class != Class::Success);
}

fn is_above(minute: &Minute) -> bool {
    rate(minute[1]) > LIMIT
}

fn rate([requests, failures]: [u64; 2]) -> f64 {
    failures as f64 / requests.max(1) as f64
}

/// Checks that failed are counted, whatever lies between them.
fn after_failures(minutes: &[Minute], count: usize) -> Option<f64> {
    let failed = minutes.iter().enumerate().filter(|(_, minute)| is_above(minute));
    failed.map(|(place, _)| 60.0 * (place + 1) as f64).nth(count - 1)
}

fn flagger(minutes: &[Minute]) -> Option<f64> {
    after_failures(minutes, 5)
}

fn argo(minutes: &[Minute]) -> Option<f64> {
    after_failures(minutes, 4)
}

fn alarm(minutes: &[Minute]) -> Option<f64> {
    let place = minutes.windows(2).position(|pair| pair.iter().all(is_above))?;
    Some(60.0 * (place + 2) as f64)
}

/// One judgement of ten minutes: the rates of the candidate's minutes against those of stable's, by the normal approximation.
fn kayenta(minutes: &[Minute]) -> Option<f64> {
    let ten = minutes.get(..10)?;
    let wins = ten.iter().flat_map(|one| ten.iter().map(|other| (rate(one[1]), rate(other[0]))));
    let above: f64 = wins
        .map(|(candidate, stable)| if candidate > stable { 1.0 } else { f64::from(candidate == stable) / 2.0 })
        .sum();
    let (n, z) = (ten.len() as f64, 2.326);
    let deviation = (n * n * (2.0 * n + 1.0) / 12.0).sqrt();
    (above - n * n / 2.0 > z * deviation).then_some(600.0)
}
