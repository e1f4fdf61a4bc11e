//! The worlds of callers as data: those in which nothing is wrong, and those in which something is, with what the design says is found.

use config::release::verdict::votes::VoteAbout;

use crate::callers::{Callers, Defect, Steps, Swing, WORLD};

/// What may be called worse in a world without a difference: the vote's half of the plan's 1 %.
pub(crate) const CLAIMED: f64 = 0.005;

/// The same with requests without a key beside it, which have a quarter of the 1 % of their own.
pub(crate) fn claimed(world: &Callers) -> f64 {
    if world.keyless > 0.0 { CLAIMED + 0.0025 } else { CLAIMED }
}

const ALL_KINDS: &[(f64, f64)] = &[(0.02, 1.0), (0.05, 0.3)];
const THIRTIES: Steps = Steps::Linear { by: 10, seconds: 30.0 };

const fn fixed(seconds: f64) -> Steps {
    Steps::Fixed { weight: 10, seconds }
}

/// Callers of which a part fails always, under a plan of 10 % every 30 s.
const fn always(name: &'static str, callers: usize, kinds: &'static [(f64, f64)]) -> Callers {
    Callers { name, callers, kinds, base: 0.0, steps: THIRTIES, ..WORLD }
}

/// Callers that each have a bucket of their own, at 10 %.
const fn alone(name: &'static str, callers: usize, kinds: &'static [(f64, f64)], seconds: f64) -> Callers {
    Callers { name, callers, kinds, base: 0.0, alone: true, steps: fixed(seconds), ..WORLD }
}

/// Callers of all kinds, under a plan of 10 % every 30 s.
const fn mixed(name: &'static str, swing: Swing) -> Callers {
    Callers { name, kinds: ALL_KINDS, steps: THIRTIES, swing, ..WORLD }
}

/// Worlds in which candidate and stable are the same.
pub(crate) const NULLS: &[Callers] = &[
    Callers { steps: fixed(270.0), ..always("fixed 10 %: 2 000 callers, 2 % fail always", 2_000, &[(0.02, 1.0)]) },
    always("linear: 500 callers, 2 % fail always", 500, &[(0.02, 1.0)]),
    always("linear: 2 000 callers, 1 % fail always", 2_000, &[(0.01, 1.0)]),
    always("linear: 2 000 callers, 2 % fail always (a client error for ever)", 2_000, &[(0.02, 1.0)]),
    always("linear: 2 000 callers, 5 % fail always", 2_000, &[(0.05, 1.0)]),
    always("linear: 9 000 callers, 1 % fail always, buckets collide", 9_000, &[(0.01, 1.0)]),
    always("linear: 30 000 callers, 0.3 % fail always, three in each bucket", 30_000, &[(0.003, 1.0)]),
    alone("alone: 100 callers, 5 % fail 30 %", 100, &[(0.05, 0.3)], 300.0),
    alone("alone: 500 callers, 5 % fail 20 %", 500, &[(0.05, 0.2)], 120.0),
    alone("alone: 2 000 callers, 5 % fail 20 %", 2_000, &[(0.05, 0.2)], 120.0),
    alone("alone: 2 000 callers, 1 % fail 50 %", 2_000, &[(0.01, 0.5)], 120.0),
    mixed("linear: 1 000 callers of all kinds", Swing::None),
    mixed("the same, the base swings between 0.1 and 1.9 times", Swing::Wave(60.0)),
    mixed("the same, everything fails for 2 s every 30 s", Swing::Outages(30.0)),
    mixed("the same, rate and callers change with the time of day", Swing::Days(120.0)),
    mixed("the same, who failed asks again up to 3 times", Swing::Retries(3)),
    mixed("the same, a restart every 40 s loses 3 s", Swing::Restarts(40.0)),
    Callers { members: 5, ..mixed("the same, a train of five", Swing::None) },
    Callers { keyless: 0.5, ..mixed("the same, half of the requests without a key", Swing::None) },
    Callers { keyless: 0.5, ..mixed("the same, and everything fails for 2 s every 30 s", Swing::Outages(30.0)) },
    Callers { callers: 20, ..alone("20 heavy callers, 20 % fail 50 %", 20, &[(0.2, 0.5)], 300.0) },
    Callers {
        callers: 500,
        steps: Steps::ByRequests(1_000),
        ..mixed("steps end after 1 000 of the candidate", Swing::None)
    },
    Callers {
        about: VoteAbout::Latency,
        callers: 200,
        steps: THIRTIES,
        ..mixed("slow answers: 200 callers of own speeds", Swing::Speeds)
    },
    Callers {
        about: VoteAbout::Latency,
        callers: 50,
        steps: THIRTIES,
        ..mixed("slow answers: 50 callers of own speeds", Swing::Speeds)
    },
    Callers { name: "500 callers alike, 1 %", callers: 500, steps: THIRTIES, ..WORLD },
    Callers {
        name: "on the margin: 1.2 times the odds, base 2 %",
        callers: 2_000,
        base: 0.02,
        defect: Defect::Odds(1.2),
        steps: fixed(270.0),
        ..WORLD
    },
];

/// What is found of a defect: its chance for each request, the median seconds and the median requests of the candidate.
pub(crate) type Found = (f64, f64, u64);

/// Base, weight, callers, and what the design says is found of each defect.
pub(crate) const POWERS: &[(f64, usize, usize, [Found; 5])] = &[
    (0.0, 5, 1_000, [(1.0, 0.6, 4), (0.5, 1.3, 9), (0.1, 6.0, 44), (0.05, 11.0, 90), (0.02, 30.0, 224)]),
    (0.0, 5, 10_000, [(1.0, 0.5, 4), (0.5, 1.0, 8), (0.1, 5.2, 42), (0.05, 10.0, 90), (0.02, 30.0, 254)]),
    (0.0, 10, 100, [(1.0, 0.3, 7), (0.5, 0.8, 13), (0.1, 3.4, 72), (0.05, 6.8, 131), (0.02, 18.0, 299)]),
    (0.0, 10, 1_000, [(1.0, 0.2, 4), (0.5, 0.5, 10), (0.1, 2.3, 44), (0.05, 4.7, 100), (0.02, 13.0, 207)]),
    (0.0, 10, 10_000, [(1.0, 0.2, 4), (0.5, 0.4, 8), (0.1, 2.2, 44), (0.05, 4.5, 76), (0.02, 13.0, 264)]),
    (0.0, 25, 10_000, [(1.0, 0.2, 7), (0.5, 0.3, 14), (0.1, 1.7, 80), (0.05, 3.4, 149), (0.02, 8.1, 392)]),
    (0.01, 5, 1_000, [(1.0, 0.6, 5), (0.5, 1.5, 10), (0.1, 13.0, 101), (0.05, 46.0, 346), (0.02, 240.0, 1_906)]),
    (0.01, 5, 10_000, [(1.0, 0.6, 5), (0.5, 1.3, 10), (0.1, 9.0, 69), (0.05, 41.0, 342), (0.02, 197.0, 1_558)]),
    (0.01, 10, 100, [(1.0, 0.4, 9), (0.5, 1.2, 23), (0.1, 15.0, 295), (0.05, 55.0, 1_076), (0.02, 240.0, 3_428)]),
    (0.01, 10, 1_000, [(1.0, 0.3, 5), (0.5, 0.7, 13), (0.1, 5.9, 109), (0.05, 18.0, 368), (0.02, 120.0, 2_174)]),
    (0.01, 10, 10_000, [(1.0, 0.2, 5), (0.5, 0.6, 10), (0.1, 5.3, 94), (0.05, 17.0, 313), (0.02, 108.0, 1_808)]),
    (0.01, 25, 10_000, [(1.0, 0.2, 9), (0.5, 0.4, 18), (0.1, 2.7, 128), (0.05, 8.8, 432), (0.02, 49.0, 2_175)]),
];

/// The world of a row of [`POWERS`].
pub(crate) fn power(base: f64, weight: usize, callers: usize, extra: f64) -> Callers {
    Callers { callers, base, steps: Steps::Fixed { weight, seconds: 600.0 }, defect: Defect::Each(extra, 0.0), ..WORLD }
}

/// Defects that come late, or strike some callers only.
pub(crate) const OTHERS: &[Callers] = &[
    Callers { name: "10 % from 300 s on", defect: Defect::Each(0.1, 300.0), steps: fixed(900.0), ..WORLD },
    Callers { name: "5 % from 300 s on", defect: Defect::Each(0.05, 300.0), steps: fixed(900.0), ..WORLD },
    Callers { name: "20 % of the callers fail wholly", defect: Defect::Some(0.2), ..WORLD },
    Callers { name: "5 % of the callers fail wholly", defect: Defect::Some(0.05), ..WORLD },
];
