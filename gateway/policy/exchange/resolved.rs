//! A request that has its version: who answers it, who may answer in its place, and who is charged with the outcome.

use std::mem;
use std::time::{Duration, Instant};

use config::release::outcome::Class;
use config::route::resolve::Reason;
use rand::Rng;

use super::received::lacks_trailers;
use super::{Attempting, HeadView, Received, RequestFields};
use crate::clock;
use crate::live::{Destination, Served, Way};
use crate::metrics::Pick;
use crate::outcomes::{Ended, StandIn, Ticket};
use crate::policy::refusal::Refusal;
use crate::policy::retry::{self, Failure};
use crate::policy::shield;
use crate::upstreams::Tried;

/// The facts that are known of a request from its one resolve on.
#[derive(Debug)]
pub struct Resolved {
    /// The way in.
    pub way: Way,
    /// The version that answers. The shield puts the spare into its place.
    pub served: Served,
    worker: usize,
    /// Attempts made.
    attempts: u32,
    /// The endpoints that they were made at.
    tried: Tried,
    standing_in: Option<StandingIn>,
    /// Of the version that is charged, until it is.
    ticket: Option<Ticket>,
}

/// The spare answers in the place of a version that failed the request, and that is charged with it already.
#[derive(Debug)]
struct StandingIn {
    /// Attempts at the version that failed.
    attempts_before: u32,
    /// The place among those that the spare answers, until the answer is over.
    _stand_in: StandIn,
}

impl Resolved {
    /// A request that was resolved just now, by this worker. Counts its draw; `began`: the time at which its head was whole.
    #[must_use]
    pub fn new(way: Way, served: Served, worker: usize, began: Instant) -> Self {
        let bucket = if let Reason::Bucket(bucket) = served.resolution.reason { Some(bucket) } else { None };
        let ticket = served.charged().map(|outcomes| outcomes.begin(worker, bucket, began));
        let has_fallen_back = served.resolution.fallback_from.is_some();
        let mut resolved =
            Self { way, served, worker, attempts: 0, tried: Tried::default(), standing_in: None, ticket };
        if has_fallen_back {
            // The version that was drawn has no endpoint to try.
            resolved.charge(Class::Connect, None, began);
        }
        resolved
    }

    /// The answer of an endpoint is good so far, and on its way. `latency`: to its head.
    pub fn answering(&mut self, latency: Option<Duration>, now: impl FnOnce() -> Instant) {
        if let (Some(outcomes), Some(ticket), Some(latency)) = (self.served.charged(), &mut self.ticket, latency)
            && !ticket.is_answering()
        {
            outcomes.answering(self.worker, ticket, latency, now());
        }
    }

    /// Counts why the version was chosen.
    pub(super) fn picked(&self) {
        self.served.destination.series.picked(pick_of(&self.served));
    }

    /// Attempts made at endpoints, of both versions where a spare answers.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Picks an endpoint that this request has not tried. `has_body`: the request has a body, or may still get one.
    ///
    /// # Errors
    /// A refusal if none is left.
    pub fn begin<F: RequestFields + ?Sized>(
        &mut self,
        received: &Received,
        head: &HeadView<'_, F>,
        has_body: bool,
        rng: &mut impl Rng,
    ) -> Result<Attempting, Refusal> {
        let made = self.made(head, retry::Body::Replayable, false);
        let state = self.served.destination.state.as_ref().ok_or(Refusal::Internal)?;
        // The failure of the last attempt would reach the client, and so would that of a body that cannot be sent again.
        let may_probe = !has_body && made.made < state.spec().retries.attempts && retry::may_be_repeated(&made);
        if self.attempts == 0 {
            state.budget().on_request();
        }
        let pick = state.pick(&self.tried, may_probe, rng).ok_or(Refusal::NoHealthy)?;
        // Nothing has awaited anything but the client before the first attempt.
        let began = if self.attempts == 0 { received.started } else { clock::now() };
        self.tried.add(&pick);
        self.attempts += 1;
        Ok(Attempting::new(pick, began))
    }

    /// True if an answer with this status may be followed by another attempt.
    pub(super) fn may_try_again(&self, status: u16) -> bool {
        let state = self.served.destination.state.as_ref();
        state.is_some_and(|state| state.spec().retries.on_status.contains(&status))
            || (status >= 500 && self.served.spare.is_some())
    }

    /// True if the request is sent once more inside its version, after `attempt` failed so.
    pub(super) fn again(&self, attempt: &retry::Attempt<'_>, failure: Failure, reused: bool) -> bool {
        let Some(state) = &self.served.destination.state else { return false };
        let unseen = match failure {
            Failure::Unsent => true,
            // The endpoint had closed an idle connection.
            Failure::Reset => reused,
            Failure::Timeout | Failure::Status(_) => false,
        };
        // A spare gets a request once.
        if self.standing_in.is_some() && !unseen {
            return false;
        }
        let again = retry::again(attempt, failure, &state.spec().retries, || state.budget().try_take());
        if again {
            self.served.destination.upstream_series.retried(failure.label());
        }
        again
    }

    /// The request after a failed attempt, as retries and the shield see it. `body` is what is left of its body, `answered`
    /// whether anything of an answer went to the client.
    pub(super) fn made<'h, F: RequestFields + ?Sized>(
        &self,
        head: &HeadView<'h, F>,
        body: retry::Body,
        answered: bool,
    ) -> retry::Attempt<'h> {
        let before = self.standing_in.as_ref().map_or(0, |standing_in| standing_in.attempts_before);
        retry::Attempt {
            method: head.method,
            idempotency_key: head.field("idempotency-key").is_some(),
            body,
            answered,
            made: self.attempts - before,
        }
    }

    /// True if the spare answers what the version failed. Then the version has been charged, and the spare is in its
    /// place.
    pub(super) fn stands_in<F: RequestFields + ?Sized>(
        &mut self,
        head: &HeadView<'_, F>,
        attempt: &retry::Attempt<'_>,
        failure: Failure,
        latency: Option<Duration>,
    ) -> bool {
        let Some(spare) = self.served.spare.clone() else { return false };
        if !shield::covers(self.served.destination.shield, attempt, failure) || lacks_trailers(head, &spare) {
            return false;
        }
        let now = clock::now();
        let Some(stand_in) = admitted(&spare, now) else { return false };
        let class = match failure {
            Failure::Unsent => Class::Connect,
            Failure::Reset => Class::Reset,
            Failure::Timeout => Class::Timeout,
            Failure::Status(status) => Class::of_status(status),
        };
        self.charge(class, latency, now);
        spare.series.picked(Pick::Shield);
        self.standing_in = Some(StandingIn { attempts_before: self.attempts, _stand_in: stand_in });
        self.served.spare = None;
        self.served.first = Some(mem::replace(&mut self.served.destination, spare));
        true
    }

    /// Charges the version that was drawn with what came of the request, unless it was charged before: it had no endpoint, or the
    /// spare took over.
    pub(super) fn over(&mut self, class: Class, latency: Option<Duration>, now: Instant) {
        self.charge(class, latency, now);
        self.standing_in = None;
    }

    /// Counts an outcome for the version that was drawn, if one was. A request has one.
    fn charge(&mut self, class: Class, latency: Option<Duration>, now: Instant) {
        if let (Some(outcomes), Some(ticket)) = (self.served.charged(), self.ticket.take()) {
            let latency = latency.filter(|_| has_answer(class));
            outcomes.ended(self.worker, &ticket, &Ended { class, latency, at: now });
        }
    }
}

/// Lets the spare answer one request more, within its budget.
fn admitted(spare: &Destination, now: Instant) -> Option<StandIn> {
    let (outcomes, state) = (spare.outcomes.as_ref()?, spare.state.as_ref()?);
    if !state.healthy() || !shield::is_open(outcomes.recent(now)) {
        return None;
    }
    outcomes.stand_in(shield::most_at_once(state.in_flight()))
}

/// True if a request of this class had an answer whose head came from the version.
fn has_answer(class: Class) -> bool {
    match class {
        Class::Success | Class::ClientError | Class::ServerError | Class::GatewayError => true,
        Class::Connect | Class::Reset | Class::Timeout | Class::ClientGone | Class::Uncharged => false,
    }
}

fn pick_of(served: &Served) -> Pick {
    if served.resolution.fallback_from.is_some() {
        return Pick::Fallback;
    }
    match served.resolution.reason {
        Reason::Direct => Pick::Direct,
        Reason::Override => Pick::Override,
        Reason::Rule(_) => Pick::Rule,
        Reason::Bucket(_) => Pick::Bucket,
        Reason::Slot(_) => Pick::Slot,
        Reason::Only => Pick::Only,
        Reason::Random => Pick::Random,
        Reason::Stable => Pick::Stable,
    }
}
