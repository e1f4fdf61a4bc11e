//! References from plans.

use crate::model::Plan;
use crate::text::check::{Check, suggestion};
use crate::text::problem::Problem;
use crate::text::yaml::join;

impl Check<'_> {
    /// Everybody whom a plan tells is there.
    pub(super) fn plan(&mut self, path: &str, plan: &Plan) {
        for (index, notifier) in plan.notify.iter().enumerate() {
            let known = self.config.notifiers.contains_key(notifier);
            if known || self.is_broken(&join("notifiers", notifier.as_str())) {
                continue;
            }
            let names = self.config.notifiers.keys().map(|name| name.as_str());
            let problem =
                Problem::error(format!("{path}.notify[{index}]"), format!("the notifier `{notifier}` does not exist"));
            self.value(problem.help(suggestion(notifier.as_str(), names, "notifier")));
        }
    }
}
