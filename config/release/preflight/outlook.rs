//! The outlook of a release: what the guard can see of a candidate with the requests that it will get.

use super::{Observed, rate_text};
use crate::model::{Bake, Plan};
use crate::release::verdict::Watch;
use crate::value::weight::Weight;

/// The smallest defect that is told of, and how finely: a hundredth of a percentage point.
const FINEST: f64 = 1e-4;

/// The number of requests that the candidate gets before it has everything, and what the guard can and cannot see with them; `None` where
/// nothing is compared. `from`: what the candidate has already; smaller steps are skipped.
#[must_use]
pub fn outlook(plan: &Plan, from: Weight, seen: &Observed) -> Option<String> {
    let compared = |weight: Weight| weight >= from && weight > Weight::ZERO && weight.basis_points() < Weight::WHOLE;
    let rate = seen.rate();
    let steps = plan.steps.iter().filter(|step| compared(step.weight)).map(|step| {
        let share = f64::from(step.weight.basis_points()) / f64::from(Weight::WHOLE);
        let requests = match step.bake {
            Bake::Time(time) => rate * share * time.as_secs_f64(),
            Bake::Requests(wanted) => wanted as f64,
            Bake::Hold => f64::INFINITY,
        };
        (step.weight, requests)
    });
    let steps: Vec<(Weight, f64)> = steps.filter(|(_, requests)| *requests > 0.0).collect();
    let requests: f64 = steps.iter().map(|(_, requests)| requests).sum();
    if steps.is_empty() {
        let nothing = plan.steps.iter().any(|step| compared(step.weight));
        return nothing.then(|| {
            "no request came lately, so the candidate may get none: the guard would see nothing of it".to_owned()
        });
    }
    let gets = if requests.is_infinite() {
        "the candidate gets requests until somebody decides".to_owned()
    } else {
        format!("the candidate gets about {} requests before it has everything", (requests as u64).max(1))
    };
    let at = format!("at {}, of which {:.1} % fail on stable", rate_text(rate), seen.failures * 100.0);
    let sees = match smallest(plan, &steps, seen.failures) {
        Some(defect) => format!(
            "the guard is likely to see if {} % more of them fail, and not if fewer do",
            (defect * 1e4).ceil() / 100.0
        ),
        None => "the guard cannot see anything with so few, not even a candidate that fails with all".to_owned(),
    };
    Some(format!("{gets} ({at}): {sees}"))
}

/// The least part of the candidate's requests that must fail more than stable's for the guard to be likely to see it.
fn smallest(plan: &Plan, steps: &[(Weight, f64)], base: f64) -> Option<f64> {
    let is_seen = |defect: f64| {
        let shown = steps.iter().map(|(weight, requests)| {
            let each = Watch::evidence_of(plan.guard.margin, *weight, base, defect);
            if each > 0.0 { each * requests } else { 0.0 }
        });
        shown.sum::<f64>() >= Watch::evidence_needed(plan.guard.margin)
    };
    let (mut unseen, mut seen) = (0.0, 1.0 - base);
    if !is_seen(seen) {
        return None;
    }
    while seen - unseen > FINEST {
        let middle = f64::midpoint(unseen, seen);
        if is_seen(middle) { seen = middle } else { unseen = middle }
    }
    Some(seen)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::text::parse::parse_plan;

    fn told(plan: &str, requests: u64, failures: f64) -> Option<String> {
        let seen = Observed { requests, failures, over: Duration::from_secs(60) };
        outlook(&parse_plan(plan, &|_| None).unwrap(), Weight::ZERO, &seen)
    }

    /// The defect that a text tells of, in percent.
    fn defect(plan: &str, requests: u64, failures: f64) -> f64 {
        let told = told(plan, requests, failures).unwrap();
        let (before, _) = told.split_once(" % more of them").expect(&told);
        before.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn more_requests_show_smaller_defects_and_a_noisy_base_hides_them() {
        let plan = "canaryStep: {weight: 10, interval: 10m}";
        let (few, many) = (defect(plan, 600, 0.01), defect(plan, 60_000, 0.01));
        assert!(many < few / 4.0 && few < 100.0, "{few} {many}");
        assert!(defect(plan, 60_000, 0.0) < many);
        let told = told(plan, 12_000, 0.01).unwrap();
        assert!(
            told.starts_with(
                "the candidate gets about 12000 requests before it has everything (at 200 requests a second"
            ),
            "{told}"
        );
    }

    #[test]
    fn too_few_requests_show_nothing_and_that_is_said() {
        let plan = "canaryStep: {weight: 10, interval: 10s}";
        assert!(told(plan, 60, 0.0).unwrap().contains("cannot see anything"));
        assert!(told(plan, 0, 0.0).unwrap().contains("may get none"));
        assert_eq!(told("full", 600, 0.0), None);
    }
}
