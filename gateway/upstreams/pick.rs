//! The pick of an endpoint for one attempt, always inside one version.
//!
//! Power of two choices: of two endpoints drawn at random the one with less load (see [`load`](super::load)). Endpoints
//! that an attempt of the same request has tried are left out while another is left; so are ejected ones, but for the
//! single request that probes them.
//!
//! The panic threshold is none: while one endpoint is in, only those that are in are picked, however few, because an
//! ejected one is known to fail. When none is in, the upstream is not [healthy](UpstreamState::healthy), and requests
//! go to the spare of their version. Requests that no other version may answer are still picked an endpoint, any that
//! active checks do not say is down, and the first that is answered brings its endpoint back. No lock, no allocation.

use std::sync::Arc;

use rand::Rng;

use super::UpstreamState;
use super::endpoint::{AttemptRole, Endpoint, Prober};
use super::load::Pace;
use super::member::{Member, Pick};

/// The most attempts of one request that are remembered.
const MAX_TRIED: usize = 8;
/// One good answer in so many is timed.
const TIMED: u32 = 16;

/// The endpoints that attempts of one request have tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    ids: [u64; MAX_TRIED],
    count: usize,
}

impl Tried {
    /// Remembers the endpoint of an attempt. Beyond eight attempts the oldest is forgotten.
    pub fn add(&mut self, pick: &Pick) {
        self.ids[self.count % MAX_TRIED] = pick.id();
        self.count += 1;
    }

    fn has(&self, endpoint: &Endpoint) -> bool {
        self.ids[..self.count.min(MAX_TRIED)].contains(&endpoint.id)
    }
}

impl UpstreamState {
    /// Picks the endpoint of one attempt and counts it as in flight until the pick is dropped. `repeatable`: the request
    /// may be sent again if the attempt fails, so that it may probe an ejected endpoint. `None` when active checks say
    /// that all are down, or no name has an address.
    #[must_use]
    pub fn pick(&self, tried: &Tried, repeatable: bool, rng: &mut impl Rng) -> Option<Pick> {
        self.called();
        let members = self.members.load();
        let prober = if repeatable { Prober::Repeatable } else { Prober::Any };
        match &***members {
            [] => None,
            // Without a choice there is no load to compare, and nothing to time.
            [only] => only.endpoint.is_up().then(|| Pick::new(only, role(only, prober), false)),
            many => Choice { many, tried, prober, pace: &self.common.lasting.pace }.pick(rng),
        }
    }
}

/// A pick among several endpoints.
struct Choice<'a> {
    many: &'a [Arc<Member>],
    tried: &'a Tried,
    prober: Prober,
    pace: &'a Pace,
}

/// Conditions on an endpoint, best first; the first one that any endpoint meets decides.
const FALLBACKS: [fn(&Choice<'_>, &Endpoint) -> bool; 4] = [
    |choice, endpoint| choice.is_best(endpoint),
    |_, endpoint| endpoint.is_up() && endpoint.is_in(),
    |choice, endpoint| endpoint.is_up() && !choice.tried.has(endpoint),
    |_, endpoint| endpoint.is_up(),
];

impl Choice<'_> {
    /// Draws two; unless one of them will do, looks at all.
    fn pick(&self, rng: &mut impl Rng) -> Option<Pick> {
        let random = rng.next_u64();
        let timed = (random as u32).is_multiple_of(TIMED) || self.pace.is_unknown();
        let (first, second) = two_of(self.many.len(), random);
        let (first, second) = (&self.many[first], &self.many[second]);
        // An endpoint that is out belongs to the one request that probes it.
        for member in [first, second] {
            if self.may_probe(member) && member.claims(self.prober) {
                return Some(Pick::new(member, AttemptRole::Probe, timed));
            }
        }
        let member = match (self.is_best(&first.endpoint), self.is_best(&second.endpoint)) {
            (true, true) => less_loaded(first, second),
            (true, false) => first,
            (false, true) => second,
            (false, false) => return self.pick_of_all(timed, rng),
        };
        Some(Pick::new(member, member.endpoint.as_member(), timed))
    }

    /// Up, not tried, and not ejected.
    fn is_best(&self, endpoint: &Endpoint) -> bool {
        endpoint.is_up() && endpoint.is_in() && !self.tried.has(endpoint)
    }

    /// True for an endpoint that could be probed, if the time has come.
    fn may_probe(&self, member: &Member) -> bool {
        !member.endpoint.is_in() && member.endpoint.is_up() && !self.tried.has(&member.endpoint)
    }

    /// Two choices among those of the first fallback that has any.
    fn pick_of_all(&self, timed: bool, rng: &mut impl Rng) -> Option<Pick> {
        for fits in FALLBACKS {
            let fitting = || self.many.iter().filter(|member| fits(self, &member.endpoint));
            let count = fitting().count();
            let member = match count {
                0 => continue,
                1 => fitting().next(),
                _ => {
                    let (first, second) = two_of(count, rng.next_u64());
                    // Health may change between the count and here; then the first that fits will do.
                    let drawn = fitting().nth(first).zip(fitting().nth(second));
                    drawn.map(|(first, second)| less_loaded(first, second)).or_else(|| fitting().next())
                }
            };
            if let Some(member) = member {
                return Some(Pick::new(member, role(member, self.prober), timed));
            }
        }
        None
    }
}

/// The role of a request to an endpoint that was picked in whichever state it is.
fn role(member: &Member, prober: Prober) -> AttemptRole {
    if member.endpoint.is_in() {
        member.endpoint.as_member()
    } else if member.claims(prober) {
        AttemptRole::Probe
    } else {
        AttemptRole::LastResort
    }
}

fn less_loaded<'a>(first: &'a Arc<Member>, second: &'a Arc<Member>) -> &'a Arc<Member> {
    if second.load() < first.load() { second } else { first }
}

/// Two different places below `count`, which is at least 2, each pair equally likely (up to 2^-32 x `count`).
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let first = below(count, (random >> 32) as u32);
    let second = below(count - 1, random as u32);
    (first, if second >= first { second + 1 } else { second })
}

/// A place below `count` from 32 random bits, by multiplication (Lemire) instead of division.
fn below(count: usize, random: u32) -> usize {
    ((u64::from(random) * count as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rand::RngExt;

    use super::super::tests::{key, paper_spec, reconcile, rng, until, upstreams};
    use super::*;

    fn upstream(count: usize) -> Arc<UpstreamState> {
        reconcile(&mut upstreams().0, key(1), paper_spec(count))
    }

    fn eject(state: &UpstreamState, index: usize) {
        let now = state.common.reporter.millis();
        let members = state.members.load();
        let endpoint = &members[index].endpoint;
        assert!((0..5).any(|_| endpoint.failed(endpoint.as_member(), now).is_some()));
    }

    fn index_of(state: &UpstreamState, pick: &Pick) -> usize {
        state.members.load().iter().position(|member| std::ptr::eq(&**member, pick.member())).unwrap()
    }

    #[tokio::test]
    async fn requests_in_flight_are_spread_evenly() {
        let state = upstream(10);
        let mut rng = rng();
        let picks: Vec<_> = (0..1_000).map(|_| state.pick(&Tried::default(), true, &mut rng).unwrap()).collect();
        let loads: Vec<_> = state.endpoints().iter().map(|endpoint| endpoint.in_flight).collect();
        // One random choice would leave a spread of about 30.
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 5, "{loads:?}");
        assert_eq!(loads.iter().sum::<u32>(), 1_000);
        drop(picks);
        assert!(state.endpoints().iter().all(|endpoint| endpoint.in_flight == 0));
    }

    #[tokio::test]
    async fn a_slow_endpoint_gets_less() {
        let state = upstream(2);
        let mut rng = rng();
        let slow = std::iter::repeat_with(|| state.pick(&Tried::default(), true, &mut rng).unwrap())
            .find(|pick| index_of(&state, pick) == 0);
        for _ in 0..100 {
            let pick = state.pick(&Tried::default(), true, &mut rng).unwrap();
            assert_eq!(index_of(&state, &pick), 1);
        }
        drop(slow);
    }

    #[tokio::test]
    async fn idle_endpoints_and_those_beside_a_bad_one_get_equal_shares() {
        for (count, ejected) in [(2, None), (5, None), (3, Some(1)), (5, Some(0)), (40, Some(7))] {
            let state = upstream(count);
            if let Some(index) = ejected {
                eject(&state, index);
            }
            let mut rng = rng();
            let mut shares = BTreeMap::new();
            let (picks, left) = (40_000, count - usize::from(ejected.is_some()));
            for _ in 0..picks {
                *shares
                    .entry(index_of(&state, &state.pick(&Tried::default(), true, &mut rng).unwrap()))
                    .or_insert(0) += 1;
            }
            let fair = picks as f64 / left as f64;
            assert_eq!(shares.len(), left);
            // Five standard deviations.
            assert!(shares.values().all(|share| (f64::from(*share) - fair).abs() < 5.0 * fair.sqrt()), "{shares:?}");
        }
    }

    #[tokio::test]
    async fn no_endpoint_twice_while_another_is_left() {
        for count in 1..=MAX_TRIED {
            let state = upstream(count);
            let (mut tried, mut rng, mut seen) = (Tried::default(), rng(), Vec::new());
            for _ in 0..count {
                let pick = state.pick(&tried, true, &mut rng).unwrap();
                tried.add(&pick);
                seen.push(index_of(&state, &pick));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
            assert!(state.pick(&tried, true, &mut rng).is_some(), "then again from the start");
        }
    }

    #[tokio::test]
    async fn an_ejected_endpoint_gets_one_probe_when_its_time_is_over() {
        let state = upstream(3);
        eject(&state, 1);
        let mut rng = rng();
        let members = state.members.load();
        until("the time is over", || {
            members[1].endpoint.due(Prober::Repeatable).is_some_and(|due| due <= state.common.reporter.millis())
        })
        .await;
        let cautious: Vec<_> = (0..60).map(|_| state.pick(&Tried::default(), false, &mut rng).unwrap()).collect();
        assert!(cautious.iter().all(|pick| index_of(&state, pick) != 1), "no probe that its client would see fail");
        let picks: Vec<_> = (0..60).map(|_| state.pick(&Tried::default(), true, &mut rng).unwrap()).collect();
        let probes: Vec<_> = picks.iter().filter(|pick| index_of(&state, pick) == 1).collect();
        assert_eq!(probes.len(), 1);
        probes[0].answered(200);
        let after = (0..60).filter(|_| index_of(&state, &state.pick(&Tried::default(), true, &mut rng).unwrap()) == 1);
        assert!(after.count() > 1, "it is back");
    }

    #[derive(Debug, Clone, Copy)]
    struct Given {
        up: bool,
        ejected: bool,
        tried: bool,
        load: u32,
    }

    fn given() -> impl Strategy<Value = Vec<Given>> {
        let one = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.3), 0..4u32)
            .prop_map(|(up, ejected, tried, load)| Given { up, ejected, tried, load });
        proptest::collection::vec(one, 0..7)
    }

    /// The same rule without shortcuts: the best class that is not empty.
    fn oracle(given: &[Given]) -> Vec<usize> {
        let class = |one: &Given| match (one.up, one.ejected, one.tried) {
            (false, ..) => None,
            (true, false, false) => Some(0),
            (true, false, true) => Some(1),
            (true, true, false) => Some(2),
            (true, true, true) => Some(3),
        };
        let best = given.iter().filter_map(class).min();
        (0..given.len()).filter(|index| best.is_some() && class(&given[*index]) == best).collect()
    }

    proptest! {
        #[test]
        fn picks_from_the_best_class_that_is_not_empty(given in given(), seed in any::<u64>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _entered = runtime.enter();
            let state = upstream(given.len());
            let mut tried = Tried::default();
            for (index, (one, member)) in given.iter().zip(state.members.load().iter()).enumerate() {
                (0..one.load).for_each(|_| member.endpoint.begin());
                if one.tried {
                    tried.add(&Pick::new(member, AttemptRole::LastResort, false));
                }
                if one.ejected {
                    eject(&state, index);
                }
                if !one.up {
                    member.endpoint.checked(false, 1, 1);
                }
            }
            let best = oracle(&given);
            let mut rng: rand::rngs::SmallRng = rand::SeedableRng::seed_from_u64(seed);
            for _ in 0..rng.random_range(5..20) {
                let pick = state.pick(&tried, true, &mut rng).map(|pick| index_of(&state, &pick));
                prop_assert_eq!(pick.is_some(), !best.is_empty());
                if let Some(index) = pick {
                    prop_assert!(best.contains(&index), "{} of {:?}", index, best);
                }
                // With two in all, the less loaded one whatever is drawn.
                if let (Some(index), [one, other], 2) = (pick, &given[..], best.len()) {
                    prop_assert_eq!(given[index].load, one.load.min(other.load));
                }
            }
        }
    }
}
