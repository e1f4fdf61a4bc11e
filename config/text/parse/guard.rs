//! Guards: what protects a rollout from a candidate that is worse.

use std::time::Duration;

use crate::model::{Guard, LatencyGuard, Margin, Plan, QUANTILES, Shield, Step};
use crate::text::parse::gate::{MAX_TIMEOUT, margin_points, margin_ratio};
use crate::text::parse::place::{Place, Reading};
use crate::text::parse::scalar::{decimal, duration_within, integer, switch};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// More than any candidate gets.
const MAX_REQUESTS: u64 = 1_000_000_000;

/// `false`, `true`, or what it is to hold the candidate against.
pub(super) fn guard(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Guard> {
    let what = "`true`, `false`, or a mapping such as `{alpha: 0.01, ratio: 1.2, points: 0.1}`";
    if place.is_scalar() {
        return switch(place, r).map(Guard::enforced);
    }
    let mut fields = place.fields(r, what)?;
    if fields.is_empty() {
        r.problems.push(place.expected(what));
    }
    let guard = Guard::enforced(fields.read(r, "enforced", switch).unwrap_or(true));
    let guard = Guard {
        margin: Margin {
            alpha: fields.read(r, "alpha", alpha).unwrap_or(guard.margin.alpha),
            ratio: fields.read(r, "ratio", margin_ratio).unwrap_or(guard.margin.ratio),
            points: fields.read(r, "points", margin_points).unwrap_or(guard.margin.points),
        },
        client_errors: fields.read(r, "client_errors", switch).unwrap_or(guard.client_errors),
        shield: fields.read(r, "shield", shield).unwrap_or(guard.shield),
        latency: fields.read(r, "latency", latency).unwrap_or(guard.latency),
        min_requests: fields
            .read(r, "min_requests", |place, r| integer(place, r, 0..=MAX_REQUESTS))
            .unwrap_or(guard.min_requests),
        patience: fields
            .read(r, "patience", |place, r| duration_within(place, r, SECOND..=MAX_TIMEOUT))
            .unwrap_or(guard.patience),
        ..guard
    };
    fields.finish(r);
    Some(guard)
}

/// A probability in parts per million. Four decimals: a smaller one is `1e-05` to many writers of JSON.
fn alpha(place: &Place<'_>, r: &mut Reading<'_>) -> Option<u32> {
    decimal(place, r, 4, 1..=5000).and_then(|parts| u32::try_from(parts * 100).ok())
}

fn shield(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Shield> {
    let shields = [Shield::Off, Shield::Gateway, Shield::AnyServerError];
    place.choice(r, &shields.map(|shield| (shield.as_str(), shield)))
}

/// `off`, or bounds such as `{quantile: p95, ratio: 1.5, more: 25ms, warm_up: 500}`.
fn latency(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Option<LatencyGuard>> {
    let what = "`off`, or a mapping such as `{quantile: p95, ratio: 1.5, more: 25ms, warm_up: 500}`";
    if place.is_scalar() {
        if place.text(r, what)? == "off" {
            return Some(None);
        }
        r.problems.push(place.expected(what));
        return None;
    }
    let mut fields = place.fields(r, what)?;
    if fields.is_empty() {
        r.problems.push(place.expected(what));
    }
    let bounds = LatencyGuard::default();
    let ratio = |place: &Place<'_>, r: &mut Reading<'_>| decimal(place, r, 3, 1_000..=100_000);
    let more = |place: &Place<'_>, r: &mut Reading<'_>| duration_within(place, r, Duration::ZERO..=HOUR);
    let bounds = LatencyGuard {
        quantile: fields.read(r, "quantile", |place, r| place.choice(r, &QUANTILES)).unwrap_or(bounds.quantile),
        ratio: fields.read(r, "ratio", ratio).and_then(|ratio| ratio.try_into().ok()).unwrap_or(bounds.ratio),
        more: fields.read(r, "more", more).unwrap_or(bounds.more),
        warm_up: fields.read(r, "warm_up", |place, r| integer(place, r, 0..=MAX_REQUESTS)).unwrap_or(bounds.warm_up),
    };
    fields.finish(r);
    Some(Some(bounds))
}

/// A guard that is asked for needs a stable to compare with.
pub(super) fn comparable(place: &Place<'_>, r: &mut Reading<'_>, plan: &Plan) {
    if plan.guard.enforced && plan.steps.first().is_some_and(Step::is_whole) {
        let problem =
            place.problem("this plan begins with everything: no stable is left to compare the candidate with");
        r.problems.push(problem.help("leave `guard` out, or begin with a weight below 100"));
    }
}
