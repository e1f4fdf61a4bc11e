//! Requests that take time, under the verdict: what is counted by when it began. The rows are those of the tables of what was found
//! in worlds without a difference and in worlds with one.
//!
//! In a release build each world without a difference is run 1 000 times and held to what is claimed, with three standard deviations of
//! chance; otherwise a part of them is run.

use std::time::Duration;

use config::model::Margin;
use config::release::outcome::Class;
use config::release::verdict::{Cause, Limits, Verdict, Watch};
use config::value::weight::Weight;

use crate::judged::{ByBeginnings, Judged};
use crate::load::{Rng, Slots};

const fn runs(whole: u64, part: u64) -> u64 {
    if cfg!(debug_assertions) { part } else { whole }
}

const NULLS: u64 = runs(1_000, 40);
const FOUND: u64 = runs(60, 9);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The end of a request: after how long, and whether it fails; `None` hangs.
type Fate = Option<(Duration, bool)>;

/// Requests of a rollout: 200 a second, a tenth of them the candidate's, unless it says otherwise.
struct World {
    rate: u64,
    weights: Vec<u16>,
    seconds: u64,
    limits: Limits,
    /// The time after which every client leaves.
    patience: Duration,
}

impl World {
    fn new(unanswered: u64, gone: u64) -> Self {
        let limits = Limits { unanswered: ms(unanswered), gone: ms(gone), is_known: true };
        Self { rate: 200, weights: vec![10], seconds: 60, limits, patience: Duration::MAX }
    }
}

/// A service whose median answer takes so long, lognormal.
fn lognormal(rng: &mut Rng, median_ms: f64, sigma: f64) -> Duration {
    // A sum of twelve uniform draws is normal enough, and needs no logarithm of 0.
    let normal = (0..12).map(|_| rng.below(1 << 30) as f64 / (1u64 << 30) as f64).sum::<f64>() - 6.0;
    Duration::from_secs_f64(median_ms / 1e3 * (sigma * normal).exp())
}

impl World {
    fn weight(&self, now: Duration) -> Weight {
        let step = now.as_secs() * self.weights.len() as u64 / self.seconds;
        let percent = self.weights[(step as usize).min(self.weights.len() - 1)];
        Weight::new(percent * 100).expect("it is a percentage")
    }

    /// A request that ends by its fate, or when its client has no patience any more.
    fn request(&self, now: Duration, is_candidate: bool, fate: Fate) -> Judged {
        let (takes, class) = match fate {
            Some((takes, fails)) if takes <= self.patience => {
                (Some(takes), if fails { Class::ServerError } else { Class::Success })
            }
            _ if self.patience < Duration::MAX => (Some(self.patience), Class::ClientGone),
            Some(_) | None => (None, Class::Success),
        };
        Judged { is_candidate, began: now, takes, class }
    }
}

/// Runs one rollout until what is seen is as wished; when that was. `fate` is told the side, and the place among the candidate's requests.
fn run(
    world: &World,
    seed: u64,
    fate: impl Fn(&mut Rng, bool, u64) -> Fate,
    wished: impl Fn(&Watch, &Verdict) -> bool,
) -> Option<Duration> {
    let mut rng = Rng(seed << 32);
    let mut weight = world.weight(Duration::ZERO);
    let mut judge = ByBeginnings::new(Watch::new(Margin::default(), false), world.limits, weight);
    let mut slots = Slots::new(weight);
    let (step, mut of_candidate) = (Duration::from_secs(1) / world.rate as u32, 0);
    let mut look_at = ms(100);
    for n in 0..world.rate * world.seconds {
        let now = step * n as u32;
        while look_at <= now {
            let verdict = judge.look(look_at, world.weight(look_at));
            if wished(&judge.watch, &verdict) {
                return Some(look_at);
            }
            look_at += ms(100);
        }
        if world.weight(now) != weight {
            weight = world.weight(now);
            slots = Slots::new(weight);
        }
        // Cells of 1/weight are whole for some weights only; for the others each request is drawn.
        let is_exact = weight.basis_points() <= 5_000 && 10_000 % weight.basis_points() == 0;
        let is_candidate =
            if is_exact { slots.next(&mut rng) } else { rng.chance(f64::from(weight.basis_points()) / 1e4) };
        of_candidate += u64::from(is_candidate);
        let fate = fate(&mut rng, is_candidate, of_candidate);
        judge.asked(world.request(now, is_candidate, fate));
    }
    None
}

fn is_worse(_: &Watch, verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Worse(_))
}

fn is_slower(_: &Watch, verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Worse(Cause::Latency { .. }))
}

/// Holds a world without a difference to what is claimed, in parts of all rollouts.
fn holds(
    name: &str,
    world: &World,
    claimed: f64,
    fate: impl Fn(&mut Rng, bool, u64) -> Fate,
    wrong: impl Fn(&Watch, &Verdict) -> bool,
) {
    let alarms = (1..=NULLS).filter(|seed| run(world, *seed, &fate, &wrong).is_some()).count();
    let most = (claimed + 3.0 * (claimed / NULLS as f64).sqrt()) * NULLS as f64;
    println!("{name}: {alarms} false alarms of {NULLS}, at most {most:.1}");
    assert!(alarms as f64 <= most, "{name}: {alarms} false alarms of {NULLS}");
}

/// Holds the median time until a world with a difference is found to one and a half times what is said.
fn finds(
    name: &str,
    world: &World,
    seconds: f64,
    fate: impl Fn(&mut Rng, bool, u64) -> Fate,
    right: impl Fn(&Watch, &Verdict) -> bool,
) {
    let time = |seed| run(world, seed, &fate, &right).map_or(f64::INFINITY, |time| time.as_secs_f64());
    let mut times: Vec<f64> = (1..=FOUND).map(time).collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!("{name}: found after {median:.1} s, said {seconds} s");
    assert!(median <= seconds * 1.5 + 0.2, "{name}: found after {median} s, not {seconds}");
}

/// Of both sides this part fails, each after its own time; the rest is answered.
fn unequal(
    part: f64,
    [stable, candidate]: [Duration; 2],
    (median, sigma): (f64, f64),
) -> impl Fn(&mut Rng, bool, u64) -> Fate {
    move |rng, is_candidate, _| {
        if rng.chance(part) {
            Some((if is_candidate { candidate } else { stable }, true))
        } else {
            Some((lognormal(rng, median, sigma), false))
        }
    }
}

const FAST: (f64, f64) = (20.0, 0.5);
const SLOW: (f64, f64) = (200.0, 0.6);

fn fast_world() -> World {
    World::new(1_000, 64)
}

fn slow_world() -> World {
    World::new(5_000, 800)
}

#[test]
fn equal_failures_of_unequal_speed_are_never_worse() {
    let (late, soon, claimed) = (ms(30_000), ms(10), 0.0075);
    let holds = |name: &str, world: &World, fate: &dyn Fn(&mut Rng, bool, u64) -> Fate| {
        holds(name, world, claimed, fate, is_worse);
    };
    let fate = unequal(0.015, [late, soon], FAST);
    holds("stable fails after 30 s, the candidate at once", &fast_world(), &fate);
    holds("the other way round", &fast_world(), &unequal(0.015, [soon, late], FAST));
    holds("the first, on a slow service", &slow_world(), &unequal(0.015, [late, soon], SLOW));
    let impatient = World { patience: ms(2_000), ..fast_world() };
    holds("failing after 4 s or at once, clients leave at 2 s", &impatient, &unequal(0.05, [ms(4_000), soon], FAST));
    let busy = World { rate: 1_000, weights: vec![50], seconds: 20, ..fast_world() };
    holds("the first at 50 % and 1 000 a second", &busy, &fate);
}

#[test]
fn a_candidate_that_hangs_is_found_soon_after_the_age_limit_or_when_clients_give_up() {
    let hangs = |(median, sigma): (f64, f64)| {
        move |rng: &mut Rng, is_candidate: bool, _: u64| (!is_candidate).then(|| (lognormal(rng, median, sigma), false))
    };
    let leave = |millis: u64, world: World| World { patience: ms(millis), ..world };
    finds("hangs, patient clients, fast", &fast_world(), 1.2, hangs(FAST), is_worse);
    finds("hangs, patient clients, slow", &slow_world(), 5.2, hangs(SLOW), is_worse);
    finds("hangs, clients leave at 1 s, fast", &leave(1_000, fast_world()), 1.2, hangs(FAST), is_worse);
    finds("hangs, clients leave at 1 s, slow", &leave(1_000, slow_world()), 1.2, hangs(SLOW), is_worse);
    finds("hangs, clients leave at 5 s, fast", &leave(5_000, fast_world()), 1.2, hangs(FAST), is_worse);
}

#[test]
fn clients_that_leave_before_they_waited_count_for_nothing() {
    // Not even slow: they leave before an answer of the candidate is.
    let world = World { patience: ms(20), ..fast_world() };
    let hangs = |rng: &mut Rng, is_candidate: bool, _: u64| (!is_candidate).then(|| (lognormal(rng, 5.0, 0.1), false));
    assert_eq!(run(&world, 1, hangs, is_worse), None);
}

#[test]
fn a_candidate_that_fails_at_once_is_found_a_look_later() {
    let fails = |part: f64| {
        move |rng: &mut Rng, is_candidate: bool, _: u64| {
            Some((lognormal(rng, 20.0, 0.5), is_candidate && rng.chance(part)))
        }
    };
    for (part, seconds) in [(1.0, 0.3), (0.5, 0.6), (0.1, 2.0), (0.05, 3.3), (0.02, 10.7)] {
        finds(&format!("fails {part}"), &fast_world(), seconds, fails(part), is_worse);
    }
    let slow = |rng: &mut Rng, is_candidate: bool, _: u64| {
        if is_candidate || rng.chance(0.01) { Some((ms(10), true)) } else { Some((lognormal(rng, 200.0, 0.6), false)) }
    };
    finds("fails all at once, slow service", &slow_world(), 0.7, slow, is_worse);
}

/// A service on which the candidate's times are these of stable's.
fn slower(
    (median, sigma): (f64, f64),
    of_candidate: impl Fn(Duration, u64) -> Duration,
) -> impl Fn(&mut Rng, bool, u64) -> Fate {
    move |rng, is_candidate, place| {
        let time = lognormal(rng, median, sigma);
        Some((if is_candidate { of_candidate(time, place) } else { time }, false))
    }
}

fn long(seconds: u64) -> World {
    World { seconds, ..World::new(10_000, 1_000) }
}

#[test]
fn a_candidate_within_either_margin_of_speed_stays() {
    let seconds = runs(300, 90);
    let world = long(seconds);
    let holds = |name: &str, world: &World, fate: &dyn Fn(&mut Rng, bool, u64) -> Fate| {
        holds(name, world, 0.0025, fate, is_slower);
    };
    holds("A/A, lognormal", &world, &slower(FAST, |time, _| time));
    let linear = World { weights: (1..10).map(|step| step * 10).collect(), ..long(seconds) };
    holds("A/A, linear 10 %", &linear, &slower(FAST, |time, _| time));
    for sigma in [0.02, 0.1] {
        holds("20 to 22 ms", &world, &slower((20.0, sigma), |time, _| time.mul_f64(1.1)));
    }
    holds("twice 20 ms, only 20 ms more", &world, &slower((20.0, 0.1), |time, _| time * 2));
    holds("200 to 260 ms", &world, &slower((200.0, 0.5), |time, _| time.mul_f64(1.3)));
    holds("200 to 300 ms", &world, &slower((200.0, 0.5), |time, _| time.mul_f64(1.5)));
    let cold = |time: Duration, place: u64| if place <= 200 { time * 3 } else { time };
    holds("cold start of 200 answers", &world, &slower(FAST, cold));
    let bimodal = |rng: &mut Rng, _: bool, _: u64| {
        let median = if rng.chance(0.049) { 500.0 } else { 20.0 };
        Some((lognormal(rng, median, 0.2), false))
    };
    holds("bimodal, 4.9 % slow", &world, &bimodal);
}

#[test]
fn a_candidate_beyond_both_margins_of_speed_is_found_after_its_warm_up() {
    let world = long(300);
    let finds = |name: &str, world: &World, seconds: f64, fate: &dyn Fn(&mut Rng, bool, u64) -> Fate| {
        finds(name, world, seconds, fate, is_slower);
    };
    finds("twice 200 ms", &world, 29.0, &slower((200.0, 0.5), |time, _| time * 2));
    finds("three times 20 ms", &world, 26.0, &slower(FAST, |time, _| time * 3));
    finds("three times 200 ms", &world, 25.0, &slower((200.0, 0.5), |time, _| time * 3));
    finds("100 ms more than 20 ms", &world, 25.0, &slower(FAST, |time, _| time + ms(100)));
    let calm = World { rate: 20, ..long(300) };
    finds("three times 20 ms, 20 a second", &calm, 67.0, &slower(FAST, |time, _| time * 3));
    let slow_mode = |rng: &mut Rng, is_candidate: bool, _: u64| {
        let median = if rng.chance(if is_candidate { 0.2 } else { 0.04 }) { 500.0 } else { 20.0 };
        Some((lognormal(rng, median, 0.2), false))
    };
    finds("slow mode 4 to 20 %", &world, 29.0, &slow_mode);
}

/// Above half of the traffic the candidate carries the load, whatever it is: that alerts, and is no verdict.
#[test]
fn a_candidate_that_is_slower_above_half_of_the_traffic_only_alerts() {
    let world = World { weights: vec![75], ..long(90) };
    let fate = slower((200.0, 0.5), |time, _| time * 3);
    assert_eq!(run(&world, 1, &fate, is_slower), None);
    let alerts = |watch: &Watch, _: &Verdict| {
        watch.alert().is_some_and(|alert| alert.contains("above 50 % it carries more of the load than stable"))
    };
    assert!(run(&world, 1, &fate, alerts).is_some(), "it alerts");
}
