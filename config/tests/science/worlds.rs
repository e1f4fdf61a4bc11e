//! The worlds of keyless requests as data: those in which nothing is wrong, and those in which something is.

use crate::keyless::{Keyless, Trouble, WORLD, defect};

/// The share that may be called worse in a world without a difference.
pub(crate) const KEYLESS_CLAIMED: f64 = 0.01;
/// The share that may be called slower: latency's quarter of it.
pub(crate) const SPEED_CLAIMED: f64 = 0.0025;

const fn troubled(name: &'static str, trouble: Trouble) -> Keyless {
    Keyless { name, trouble, ..WORLD }
}

/// Worlds in which candidate and stable are the same.
pub(crate) const KEYLESS: &[Keyless] = &[
    troubled("independent, 1 %", Trouble::None),
    Keyless { fails: [0.005, 0.0], ..troubled("base from 0.5 to 3 % while weights rise", Trouble::Drift(0.03)) },
    troubled("bursts", Trouble::Bursts),
    troubled("outages of both, answers in 0.1 ms", Trouble::Outages),
    troubled("rate and base move with the time of day", Trouble::Days),
    troubled("restarts that lose what was open", Trouble::Restarts),
    troubled("a train of five", Trouble::Train),
    Keyless { rate: 2.0, ..troubled("few requests: 2/s", Trouble::None) },
    Keyless { fails: [0.2, 0.0], ..troubled("`client_errors: true`, a fifth are 4xx", Trouble::ClientErrors) },
    troubled("who failed asks again up to 3 times", Trouble::Retries(3)),
    Keyless {
        fails: [0.015, 0.0],
        ..troubled("stable fails after 30 s, the candidate at once", Trouble::SlowFailures([30.0, 0.01]))
    },
    Keyless {
        fails: [0.015, 0.0],
        ..troubled("the candidate fails after 30 s, stable at once", Trouble::SlowFailures([0.01, 30.0]))
    },
    troubled("the first 200 answers of the candidate are cold", Trouble::Cold(200)),
    troubled("answers follow the load of a side", Trouble::Load),
];

const fn speed(name: &'static str, takes: [f64; 2], slower: [f64; 2]) -> Keyless {
    Keyless { name, takes, slower, limits: [10.0, 1.0], fails: [0.0; 2], step: 300.0, steps: 1, ..WORLD }
}

const fn speed_of(name: &'static str, trouble: Trouble) -> Keyless {
    Keyless { trouble, ..speed(name, [0.02, 0.5], [1.0, 0.0]) }
}

/// Worlds in which the candidate keeps within one of both margins of speed.
pub(crate) const EVEN_SPEEDS: &[Keyless] = &[
    speed("the same, 20 ms", [0.02, 0.5], [1.0, 0.0]),
    Keyless { step: 30.0, steps: 9, ..speed("the same, linear 10 %", [0.02, 0.5], [1.0, 0.0]) },
    speed("20 to 22 ms, hardly spread", [0.02, 0.02], [1.1, 0.0]),
    speed("20 to 22 ms, little spread", [0.02, 0.1], [1.1, 0.0]),
    speed("twice 20 ms, only 20 ms more", [0.02, 0.1], [2.0, 0.0]),
    speed("200 to 260 ms", [0.2, 0.5], [1.3, 0.0]),
    speed("200 to 300 ms, on the margin", [0.2, 0.5], [1.5, 0.0]),
    speed_of("cold start of 200 answers", Trouble::Cold(200)),
    speed_of("4.9 % in a slow mode", Trouble::SlowMode([0.049; 2])),
    Keyless { step: 30.0, steps: 9, ..speed_of("answers follow the load, linear 10 %", Trouble::Load) },
];

/// Worlds in which the candidate is slower, with the seconds in which the design says that it is found; it is 25 s of warm-up in most.
pub(crate) const SLOWER: &[(Keyless, f64)] = &[
    (speed("twice 200 ms", [0.2, 0.5], [2.0, 0.0]), 29.0),
    (speed("three times 20 ms", [0.02, 0.5], [3.0, 0.0]), 26.0),
    (speed("three times 200 ms", [0.2, 0.5], [3.0, 0.0]), 25.0),
    (speed("100 ms more than 20 ms", [0.02, 0.5], [1.0, 0.1]), 25.0),
    (Keyless { rate: 20.0, ..speed("three times 20 ms, 20 requests/s", [0.02, 0.5], [3.0, 0.0]) }, 67.0),
    (speed_of("a slow mode of 4 % becomes 20 %", Trouble::SlowMode([0.04, 0.2])), 29.0),
    (speed_of("cold start beyond the warm-up: 1 000 answers", Trouble::Cold(1_000)), 26.0),
    (
        Keyless { rate: 20.0, ..speed_of("cold start beyond the warm-up: 200 answers at 20/s", Trouble::Cold(200)) },
        66.0,
    ),
];

/// A candidate that hangs, on a service of 20 ms.
pub(crate) const HANGS: Keyless = Keyless { trouble: Trouble::Hangs, ..defect(0.01, 0.0) };

/// A row of the README: how often stable fails, how often the candidate, and the weight in percent.
pub(crate) const FOUND_WORSE: &[(f64, f64, usize)] = &[
    (0.0, 1.0, 5),
    (0.0, 0.1, 5),
    (0.01, 1.0, 5),
    (0.01, 1.0, 10),
    (0.01, 0.51, 5),
    (0.01, 0.11, 5),
    (0.01, 0.06, 5),
    (0.01, 0.03, 5),
    (0.01, 0.02, 5),
];

/// A row about a candidate that is the same: how often both fail, and the weight.
pub(crate) const FOUND_EVEN: &[(f64, usize)] = &[(0.0, 5), (0.0, 50), (0.001, 5), (0.001, 50), (0.01, 5), (0.01, 50)];

/// The world of such a row, with as much time as it takes.
pub(crate) fn held(stable: f64, candidate: f64, weight: usize) -> Keyless {
    let more = if stable < 1.0 { ((candidate - stable) / (1.0 - stable)).max(0.0) } else { 0.0 };
    Keyless { weight, step: 25_000.0, ..defect(stable, more) }
}
