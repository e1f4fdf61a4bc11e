//! Plans and notifiers.

use std::time::Duration;

use crate::template::Template;
use crate::weight::Weight;

/// The recipe of a rollout: weights that rise, each held for a bake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// As it was written, for printing it back.
    pub form: PlanForm,
    /// What it means: at least one step, the weights rising. The last is 10 000 unless the plan holds there.
    pub steps: Vec<Step>,
}

/// How a plan was spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanForm {
    /// One step, then everything.
    CanaryStep { weight: Weight, interval: Duration },
    /// Equal steps.
    LinearStep { weight: Weight, interval: Duration },
    /// Any steps, then everything.
    CanaryPlans(Vec<(Weight, Duration)>),
    /// One weight that stays until someone promotes, shifts or aborts.
    CanaryWeight(Weight),
    /// Everything at once.
    Full,
    /// A predefined name of CodeDeploy.
    CodeDeploy(String),
    /// Own steps.
    Steps,
}

/// One part of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The candidate's weight.
    pub weight: Weight,
    /// How long it is held.
    pub bake: Bake,
}

/// The wait inside a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bake {
    /// So long.
    Time(Duration),
    /// Until the candidate has answered so many requests.
    Requests(u64),
    /// Until someone decides.
    Hold,
}

/// Where the news of a rollout goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notifier {
    /// DingTalk group robot.
    DingTalk { access_token: Template, secret: Option<Template>, at_users: Vec<String> },
    /// Feishu group robot.
    Feishu { url: Template, secret: Option<Template> },
    /// WeCom group robot.
    WeCom { key: Template },
    /// Slack-compatible incoming webhook.
    Slack { url: Template },
    /// JSON by POST, signed with HMAC-SHA256 when there is a secret.
    Webhook { url: Template, secret: Option<Template> },
    /// A log line.
    Log,
}
