//! Whether the spare answers a request that its version failed. Pure decisions; the lane acts on them.
//!
//! The shield must not carry an outage of what both versions stand on from one to the other, nor double its load. So it
//! closes on the spare's own failures, never on those of the version it shields, and is bounded by what the spare does
//! anyhow.

use config::model::Shield;

use super::retry::{Attempt, Body, Failure, may_be_repeated};
use crate::outcomes::Recent;

/// Fewer of the spare's own recent requests say nothing about it.
const MIN_REQUESTS: u64 = 20;
/// The spare fails more than one in so many of its own requests: it has no strength to spare.
const FAILURES_ONE_IN: u64 = 10;
/// So many may always be under way at once.
const FLOOR: u32 = 10;
/// Beyond them, one for so many requests that are under way at the spare's endpoints.
const IN_FLIGHT_ONE_IN: u32 = 5;

/// Whether this failure, after the version's own retries, is one that the shield covers, and the request may be sent
/// again: it may be repeated (as for [a retry](super::retry)), all of its body is there, nothing went to the client.
#[must_use]
pub fn covers(shield: Shield, attempt: &Attempt<'_>, failure: Failure) -> bool {
    let covered = match (shield, failure) {
        (Shield::Off, _) => false,
        (_, Failure::Unsent | Failure::Reset | Failure::Timeout | Failure::Status(502..=504)) => true,
        // Another version implements no more, and speaks no other HTTP.
        (_, Failure::Status(501 | 505)) => false,
        (Shield::AnyServerError, Failure::Status(status)) => status >= 500,
        (Shield::Gateway, Failure::Status(_)) => false,
    };
    let repeatable = failure == Failure::Unsent || may_be_repeated(attempt);
    covered && repeatable && !attempt.answered && attempt.body == Body::Replayable
}

/// Whether the spare does well enough by itself.
#[must_use]
pub fn is_open(spare: Recent) -> bool {
    spare.requests < MIN_REQUESTS || spare.failures * FAILURES_ONE_IN <= spare.requests
}

/// How many requests of others the spare may have at once, when so many are under way at its endpoints in all.
#[must_use]
pub fn most_at_once(in_flight: u32) -> u32 {
    FLOOR.max(in_flight / IN_FLIGHT_ONE_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Attempt<'_> =
        Attempt { method: "GET", idempotency_key: false, body: Body::Replayable, answered: false, made: 2 };
    const POST: Attempt<'_> = Attempt { method: "POST", ..GET };

    #[test]
    fn what_the_shield_covers() {
        use Failure::{Reset, Status, Timeout, Unsent};
        for (attempt, failure, gateway, any) in [
            (GET, Unsent, true, true),
            (GET, Reset, true, true),
            (GET, Timeout, true, true),
            (GET, Status(503), true, true),
            (GET, Status(500), false, true),
            (GET, Status(501), false, false),
            (GET, Status(505), false, false),
            (GET, Status(507), false, true),
            (GET, Status(404), false, false),
            (POST, Unsent, true, true),
            (POST, Reset, false, false),
            (POST, Timeout, false, false),
            (POST, Status(503), false, false),
            (Attempt { idempotency_key: true, ..POST }, Timeout, true, true),
            (Attempt { method: "DELETE", ..GET }, Status(502), true, true),
            (Attempt { method: "PATCH", ..GET }, Status(502), false, false),
            (Attempt { body: Body::Gone, ..GET }, Unsent, false, false),
            (Attempt { answered: true, ..GET }, Reset, false, false),
        ] {
            assert!(!covers(Shield::Off, &attempt, failure));
            assert_eq!(covers(Shield::Gateway, &attempt, failure), gateway, "{attempt:?} {failure:?}");
            assert_eq!(covers(Shield::AnyServerError, &attempt, failure), any, "{attempt:?} {failure:?}");
        }
    }

    #[test]
    fn the_budget_closes_on_the_spares_own_failures_and_grows_with_its_load() {
        for (requests, failures, open) in
            [(0, 0, true), (19, 19, true), (20, 2, true), (20, 3, false), (1_000, 101, false)]
        {
            assert_eq!(is_open(Recent { requests, failures }), open, "{failures} of {requests}");
        }
        assert_eq!([0, 50, 100, 1_000].map(most_at_once), [10, 10, 20, 200]);
    }
}
