//! A plan as a release asks for it: by name, or written out.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::Plan;
use crate::text::parse::{Env, parse_plan};
use crate::text::problem::{Problem, nearest};
use crate::value::name::PlanName;

/// The plan that gives everything at once.
const FULL: &str = "full";

/// A plan, and its name where it has one.
pub type Named = (Arc<Plan>, Option<String>);

/// One of these plans by name, a predefined one, or the text of a plan such as `linearStep: {weight: 10, interval: 1m}`.
///
/// # Errors
/// A name that none has, or every problem of the text; at `plan`.
pub fn asked_plan(text: &str, plans: &OrdMap<PlanName, Arc<Plan>>, env: Env<'_>) -> Result<Named, Vec<Problem>> {
    let name = text.parse::<PlanName>().ok();
    let own = name.as_ref().and_then(|name| plans.get(name)).map(Arc::clone);
    let predefined = || if text == FULL { parse_plan(FULL, env).ok() } else { Plan::predefined(text) };
    match (own.or_else(|| predefined().map(Arc::new)), name) {
        (Some(plan), _) => Ok((plan, Some(text.to_owned()))),
        (None, Some(name)) => Err(vec![unknown(&name, plans)]),
        (None, None) => parse_plan(text, env).map(|plan| (Arc::new(plan), None)),
    }
}

fn unknown(name: &PlanName, plans: &OrdMap<PlanName, Arc<Plan>>) -> Problem {
    let known: Vec<&str> = plans.keys().map(PlanName::as_str).collect();
    let help = match nearest(name.as_str(), known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "the plans here are: {}; a name of CodeDeploy, `full`, or a plan written out such as \
             `linearStep: {{weight: 10, interval: 1m}}` would do too",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ),
    };
    Problem::error("plan", format!("the plan `{name}` does not exist")).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Named, String> {
        let careful = parse_plan("canaryWeight: 5", &|_| None).unwrap();
        let plans = OrdMap::unit("careful".parse().unwrap(), Arc::new(careful));
        asked_plan(text, &plans, &|_| None).map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn a_plan_has_a_name_or_is_written_out() {
        for name in ["careful", "full", "AllAtOnce", "CodeDeployDefault.LambdaCanary10Percent5Minutes"] {
            assert_eq!(asked(name).unwrap().1.as_deref(), Some(name));
        }
        assert_eq!(asked("{canaryWeight: 5}").unwrap(), (asked("careful").unwrap().0, None));
        assert!(asked("carefull").unwrap_err().contains("did you mean `careful`?"));
        assert!(asked("slow").unwrap_err().contains("the plans here are: careful"));
        assert!(asked("{canaryWeight: 0}").unwrap_err().contains("plan.canaryWeight"));
    }
}
