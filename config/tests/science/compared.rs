//! Gates that compare with stable, over whole plans: how often they send a candidate back that is exactly at the limit, or beyond it.

use std::time::Duration;

use config::model::{Bake, Gate, Plan};
use config::release::outcome::{Class, Counts, latency_bucket};
use config::release::rollout::{Answer, GateWatch, Seen, StepClock};
use config::release::verdict::{Verdict, WINDOW_REQUESTS};
use config::text::parse::parse_plan;

use crate::random::Random;

/// Requests per second, of both.
const RATE: f64 = 200.0;

/// The shapes of a plan: those of the README.
pub(crate) const SHAPES: &[(&str, &str)] = &[
    ("linear 10 % every minute", "linearStep: {weight: 10, interval: 1m}"),
    ("canary 20 % for 10 minutes", "canaryStep: {weight: 20, interval: 10m}"),
    (
        "5 % for 1000 requests, 50 % for 5 minutes",
        "steps: [{weight: 5, requests: 1000}, {weight: 50, bake: 5m}, {weight: 100}]",
    ),
];

/// The subject of a gate, and the candidate's distance from its limit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AtLimit {
    /// Stable fails this often, the candidate so many times as often.
    Times(f64, f64),
    /// Stable fails this often, the candidate so much more.
    More(f64, f64),
    /// Answers of stable have a p95 of 46 ms, those of the candidate take so many times as long.
    Slower(f64),
}

impl AtLimit {
    /// The same in words.
    pub(crate) fn told(self) -> String {
        match self {
            Self::Times(base, times) => format!("{} %, {times} times that", base * 100.0),
            Self::More(base, more) => format!("{} %, {} points more", base * 100.0, more * 100.0),
            Self::Slower(times) => format!("p95 of 46 ms, {times} times that"),
        }
    }
}

/// A gate as a plan has it, and what it is held against.
pub(crate) const GATES: &[(&str, &str, &[AtLimit])] = &[
    (
        "at most twice stable's failures",
        "{error_rate: {ratio: 2}}",
        &[
            AtLimit::Times(0.001, 2.0),
            AtLimit::Times(0.01, 2.0),
            AtLimit::Times(0.1, 2.0),
            AtLimit::Times(0.3, 2.0),
            AtLimit::Times(0.45, 2.0),
        ],
    ),
    ("at most 1.2 times", "{error_rate: {ratio: 1.2}}", &[AtLimit::Times(0.01, 1.2), AtLimit::Times(0.7, 1.2)]),
    ("at most 5 points more", "{error_rate: {points: 5}}", &[AtLimit::More(0.001, 0.05), AtLimit::More(0.3, 0.05)]),
    ("p95 at most 1.5 times", "{latency: {p95: {ratio: 1.5}}}", &[AtLimit::Slower(1.5)]),
];

/// A plan of this shape with this gate.
pub(crate) fn plan(shape: &str, gate: &str) -> Plan {
    parse_plan(&format!("{{{shape}, gates: [{gate}]}}"), &|_| None).expect("it is a plan")
}

/// Runs one rollout, and says whether the gates sent it back and at which second.
pub(crate) fn sent_back(plan: &Plan, world: AtLimit, seed: u64) -> Option<f64> {
    let mut random = Random::new(seed);
    let mut time = 0.0;
    for step in plan.steps.iter().filter(|step| step.weight.basis_points() < 10_000) {
        let gates: Vec<&Gate> = plan.gates_at(step).collect();
        let mut watches: Vec<GateWatch> = gates.iter().map(|gate| GateWatch::new(plan, gate, 1)).collect();
        let share = f64::from(step.weight.basis_points()) / 1e4;
        let mut counts = [Counts::default(), Counts::default()];
        for second in 1_u32.. {
            time += 1.0;
            ask(&mut counts, share, world, &mut random);
            let (exposure, least) = match step.bake {
                Bake::Time(bake) => (f64::from(second) / bake.as_secs_f64(), WINDOW_REQUESTS),
                Bake::Requests(wanted) => (counts[1].ended() as f64 / wanted as f64, wanted / 60),
                Bake::Hold => break,
            };
            let clock = StepClock {
                weight: step.weight,
                age: Duration::from_secs(second.into()),
                exposure,
                window: Duration::from_secs(1),
                least: least.max(WINDOW_REQUESTS),
            };
            let [stable, candidate] = &counts;
            let seen = Seen { stable, candidate, verdict: &Verdict::NoData, client_errors: false };
            let is_back =
                |(watch, gate): (&mut GateWatch, &&Gate)| matches!(watch.answer(gate, &seen, &clock), Answer::Fail(_));
            if watches.iter_mut().zip(&gates).any(is_back) {
                return Some(time);
            }
            if exposure >= 1.0 {
                break;
            }
        }
    }
    None
}

/// The requests of a second.
fn ask(counts: &mut [Counts; 2], share: f64, world: AtLimit, random: &mut Random) {
    for _ in 0..RATE as u64 {
        let side = usize::from(random.chance(share));
        let (failing, millis) = match (world, side) {
            (AtLimit::Times(base, _) | AtLimit::More(base, _), 0) => (base, 10.0),
            (AtLimit::Times(base, times), _) => (base * times, 10.0),
            (AtLimit::More(base, more), _) => (base + more, 10.0),
            (AtLimit::Slower(times), _) => {
                (0.0, 20.0 * (0.5 * random.normal()).exp() * if side == 1 { times } else { 1.0 })
            }
        };
        let class = if random.chance(failing) { Class::ServerError } else { Class::Success };
        counts[side].classes[class as usize] += 1;
        counts[side].latencies[latency_bucket(Duration::from_secs_f64(millis / 1e3))] += 1;
    }
}
