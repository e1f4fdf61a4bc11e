//! References from plans.

use crate::model::{self, AdminListener, Plan};
use crate::text::check::{Check, suggestion};
use crate::text::problem::Problem;
use crate::text::yaml::join;

impl Check<'_> {
    /// Warns of plans that wait for an answer by a link that leads nowhere but on this machine.
    pub(super) fn links(&mut self) {
        let process = &self.config.process;
        let is_reached = match &process.admin {
            _ if process.admin_url.is_some() => true,
            AdminListener::Tcp { address, .. } => !address.ip().is_loopback() && !address.ip().is_unspecified(),
            AdminListener::Socket(_) => false,
        };
        if is_reached {
            return;
        }
        for (name, plan) in &self.config.plans {
            let mut gates = plan.gates.iter().chain(plan.steps.iter().flat_map(|step| &step.gates));
            let asks = gates.any(|gate| matches!(gate.check, model::Check::Approval { .. })) && !plan.notify.is_empty();
            let mut hooks = plan.hooks.before.iter().chain(&plan.hooks.step).chain(&plan.hooks.after);
            if asks || hooks.any(|hook| hook.callback) {
                let message =
                    "this plan sends a link for the answer, and the admin API has no address that others reach";
                let help =
                    "say how it is reached: `admin: {address: 127.0.0.1:9900, url: \"https://weir.example.com\"}`";
                self.value(Problem::warning(join("plans", name.as_str()), message).help(help));
            }
        }
    }

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
