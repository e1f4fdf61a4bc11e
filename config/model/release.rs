//! Plans and notifiers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::value::decimal::Decimal;
use crate::value::name::NotifierName;
use crate::value::template::Template;
use crate::value::weight::Weight;

/// The recipe of a rollout: weights that rise, each held for a bake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// As it was written, for printing it back.
    pub form: PlanForm,
    /// What it means: at least one step, the weights rising. The last is 10 000 unless the plan holds there.
    pub steps: Vec<Step>,
    /// What must hold at every step; see [`gates_at`](Plan::gates_at).
    pub gates: Vec<Gate>,
    /// Whether the candidate must not be worse than stable, and what happens to requests that it fails.
    pub guard: Guard,
    /// Who is asked on the way.
    pub hooks: Hooks,
    /// Who is told.
    pub notify: Vec<NotifierName>,
    /// What becomes of the time in which no gateway ran.
    pub on_restart: OnRestart,
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
    /// What must hold at this step, beside the gates of the plan.
    pub gates: Vec<Gate>,
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

/// How a rollout is guarded. YAML: `guard: false`, `guard: true`, or
/// `guard: {enforced: true, alpha: 0.01, ratio: 1.2, points: 0.1, client_errors: false, shield: any-5xx}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Whether a verdict `worse` rolls back. Default: true for plans that move by themselves, false for `canaryWeight` and
    /// `full`, where it only alerts; a mapping that does not say otherwise means true.
    pub enforced: bool,
    /// What a verdict is held against.
    pub margin: Margin,
    /// Whether 4xx count as failures. Default false.
    pub client_errors: bool,
    /// Which failures of the candidate are answered by stable. Default: `any-5xx` when enforced, else `off`.
    pub shield: Shield,
    /// Bounds on the candidate's latency; `None` where speed is not judged.
    pub latency: Option<LatencyGuard>,
    /// The number of outcomes of the candidate that must be known before a step ends. Default 10; 0 for plans of CodeDeploy.
    pub min_requests: u64,
    /// The time that the end of a step waits for them before the rollout goes back. Default 1 h.
    pub patience: Duration,
}

/// Bounds beyond which a candidate is slower: an answer of it is slow beyond both margins over a quantile of stable's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyGuard {
    /// The quantile in thousandths: 500, 950 or 990. Default 950.
    pub quantile: u16,
    /// The factor on the quantile, in thousandths. Default 1 500.
    pub ratio: u32,
    /// The time beyond the quantile. Default 25 ms.
    pub more: Duration,
    /// The number of answers of the candidate that come first and are not judged. Default 500.
    pub warm_up: u64,
}

impl Default for LatencyGuard {
    fn default() -> Self {
        Self { quantile: 950, ratio: 1_500, more: Duration::from_millis(25), warm_up: 500 }
    }
}

/// When a candidate is worse: beyond both of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Margin {
    /// The chance that a rollout whose candidate is no worse is called worse, in parts per million. Default 10 000 (1 %).
    pub alpha: u32,
    /// So many times the failures of stable, in thousandths. Default 1 200.
    pub ratio: u32,
    /// So many more failures among a million requests. Default 1 000 (0.1 points).
    pub points: u32,
}

impl Default for Margin {
    fn default() -> Self {
        Self { alpha: 10_000, ratio: 1_200, points: 1_000 }
    }
}

/// Which failures of a version another version answers instead, where a request may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shield {
    /// None.
    #[default]
    Off,
    /// Connect errors, resets, timeouts, 502, 503, 504.
    Gateway,
    /// These and every other 5xx.
    AnyServerError,
}

impl Shield {
    /// The word for each in texts.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("off", Self::Off), ("gateway", Self::Gateway), ("any-5xx", Self::AnyServerError)];
}

/// A check that may stop a rollout. Watched for the whole bake: it fails as soon as it can be seen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What is checked.
    pub check: Check,
    /// What happens at the end of the bake while there is no answer.
    pub on_insufficient: OnInsufficient,
    /// How long the end of the bake waits for an answer before the rollout goes back to stable. Default 1 h; of an
    /// approval, 24 h.
    pub timeout: Duration,
}

impl Gate {
    /// A gate that says no more than what it checks.
    #[must_use]
    pub fn new(check: Check) -> Self {
        let hours = if matches!(check, Check::Approval { .. }) { 24 } else { 1 };
        Self { check, on_insufficient: OnInsufficient::default(), timeout: Duration::from_secs(hours * 3600) }
    }
}

/// What a gate checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The statistical verdict: passes when the candidate is shown to be no worse, fails when it is shown to be worse.
    NoWorse,
    /// The part of the candidate's requests that fail, in parts per million.
    ErrorRate {
        /// At most this.
        limit: Limit,
        /// Of the candidate, since the step's weight went live (and of stable, where the limit compares). Default 100.
        min_requests: u64,
    },
    /// A quantile of the candidate's latencies, in microseconds.
    Latency {
        /// In thousandths: 500, 950, 990.
        quantile: u16,
        /// At most this. Points are microseconds.
        limit: Limit,
        /// As of the error rate.
        min_requests: u64,
    },
    /// Somebody says yes.
    Approval {
        /// What silence means, once the gate's timeout is over.
        default: Decision,
    },
    /// The step's weight is set only within these times; the end of the bake does not wait for them.
    Window(Vec<Window>),
    /// What a Prometheus server says.
    Prometheus(Box<PrometheusCheck>),
}

impl Check {
    /// The default of `min_requests`.
    pub const MIN_REQUESTS: u64 = 100;
}

/// The quantiles that a gate may ask for, in thousandths.
pub(crate) const QUANTILES: [(&str, u16); 3] = [("p50", 500), ("p95", 950), ("p99", 990)];

/// A bound on what the candidate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most so much. YAML `max: 1%`, `max: 250ms`.
    Max(u64),
    /// At most so many thousandths of what stable does in the same time. YAML `ratio: 1.2`.
    Ratio(u32),
    /// At most so much more than stable in the same time. YAML `points: 0.5` (percentage points), `more: 20ms`.
    Points(u64),
}

/// What a person says, or silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decision {
    /// Go on.
    Approve,
    /// Back to stable.
    #[default]
    Reject,
}

/// What a gate without an answer means at the end of the bake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnInsufficient {
    /// The weight stays until there is an answer, or the gate's timeout is over.
    #[default]
    Wait,
    /// The rollout goes on. Not for what a server says, which may be nothing for any reason.
    Pass,
    /// Back to stable.
    Fail,
}

/// A part of the week, in UTC: `Mon-Fri 09:00-17:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Monday first.
    pub days: [bool; 7],
    /// Minutes after midnight, inclusive.
    pub from: u16,
    /// Minutes after midnight, exclusive, above `from`; 1440 is the end of the day.
    pub to: u16,
}

/// A query whose result, one number, must lie within bounds. YAML:
/// `prometheus: {url: "http://prometheus:9090", query: "…", max: 0.01, every: 30s}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusCheck {
    /// Of the server.
    pub url: Template,
    /// PromQL; `${function}`, `${alias}`, `${candidate}`, `${stable}` are replaced.
    pub query: String,
    /// At least this, as written: a decimal.
    pub min: Option<Decimal>,
    /// At most this.
    pub max: Option<Decimal>,
    /// How often it is asked. Default 30 s.
    pub every: Duration,
}

impl PrometheusCheck {
    /// The default of `every`.
    pub const EVERY: Duration = Duration::from_secs(30);
    /// What a query may name in `${}`.
    pub const VARIABLES: [&str; 4] = ["function", "alias", "candidate", "stable"];
}

/// Who is asked on the way; chains run in order, each hook with the output of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// `BeforeAllowTraffic`: before the candidate gets its first request.
    pub before: Vec<Hook>,
    /// Before each step's weight is set.
    pub step: Vec<Hook>,
    /// `AfterAllowTraffic`: after the last bake, before promotion.
    pub after: Vec<Hook>,
}

/// A question to somebody outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// How it is asked.
    pub call: HookCall,
    /// How long one try may take; with `callback`, how long the answer may. Default 30 s, 1 h with `callback`.
    pub timeout: Duration,
    /// How often it is tried again after a failure to ask (no connection, timeout, 5xx; not an answer that says no).
    /// Default 2.
    pub retries: u32,
    /// Whether the answer comes later, by a call to the URL that the question brings.
    pub callback: bool,
}

impl Hook {
    /// The default of `retries`.
    pub const RETRIES: u32 = 2;

    /// The default of `timeout`.
    #[must_use]
    pub fn default_timeout(callback: bool) -> Duration {
        Duration::from_secs(if callback { 3600 } else { 30 })
    }
}

/// How a hook is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookCall {
    /// POST of JSON. 2xx is yes.
    Http(Template),
    /// A program with its arguments; JSON on its standard input, exit code 0 is yes.
    Command(Vec<String>),
}

/// What becomes of the time in which no gateway ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRestart {
    /// It counts: a bake ends when it would have ended.
    Resume,
    /// It does not count: every deadline comes as much later.
    #[default]
    Extend,
    /// Somebody resumes the rollout.
    Hold,
}

/// Where the news of a rollout goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notifier {
    /// DingTalk group robot; `url` without one is DingTalk's own.
    DingTalk { access_token: Template, secret: Option<Template>, at_users: Vec<String>, url: Option<Template> },
    /// Feishu group robot.
    Feishu { url: Template, secret: Option<Template> },
    /// WeCom group robot; `url` without one is WeCom's own.
    WeCom { key: Template, url: Option<Template> },
    /// Slack-compatible incoming webhook.
    Slack { url: Template },
    /// JSON by POST, signed with HMAC-SHA256 when there is a secret.
    Webhook { url: Template, secret: Option<Template> },
    /// A log line.
    Log,
}
