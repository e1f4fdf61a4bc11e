//! `weir status`: what the gateway does, on one screen.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdout};
use std::thread::sleep;
use std::time::Duration;

use config::text::problem::visible;
use config::value::name::FunctionName;
use reqwest::Method;
use serde::Deserialize;

use super::Exit;
use super::ask::{Ask, Form};
use super::failure::Failure;
use super::local::{pretty, print, print_some};
use super::remote::{Answer, Call, Remote};
use super::rollout::{self, Rollout};
use super::table::{Side, Table, or_dash};

/// Between two drawings of `--watch`.
const PERIOD: Duration = Duration::from_secs(2);
/// Cursor to the top left, and nothing left below it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// `weir status`
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Only this function
    function: Option<FunctionName>,
    /// Draw again every two seconds, until interrupted
    #[arg(short, long, conflicts_with = "json")]
    watch: bool,
    #[command(flatten)]
    form: Form,
}

impl Ask for Show {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        if !self.watch {
            let answer = self.read(remote)?;
            // As JSON whatever the gateway says is shown, also when it is of another release.
            let text = if self.form.json { pretty(&answer.json) } else { answer.read::<Status>()?.to_string() };
            return Ok(print(&text));
        }
        loop {
            let status: Status = self.read(remote)?.read()?;
            let before = if stdout().is_terminal() { CLEAR } else { "" };
            if let Some(exit) = print_some(&format!("{before}{status}\n")) {
                return Ok(exit);
            }
            sleep(PERIOD);
        }
    }
}

impl Show {
    fn read(&self, remote: &Remote) -> Result<Answer, Failure> {
        remote.call(Call::new(Method::GET, "/v1/status").query("function", self.function.as_ref()))
    }
}

/// What `GET /v1/status` answers, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Status {
    node: Node,
    reload: Reload,
    store: Store,
    window_seconds: f64,
    #[serde(default)]
    freeze: Freeze,
    #[serde(default)]
    unusable: Vec<Unusable>,
    #[serde(default)]
    unusable_total: usize,
    functions: Vec<Function>,
}

#[derive(Debug, Default, Deserialize)]
struct Freeze {
    frozen: bool,
    by: Option<String>,
    reason: Option<String>,
    until: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Unusable {
    kind: String,
    name: String,
    reason: String,
    since: String,
}

#[derive(Debug, Deserialize)]
struct Node {
    version: String,
    uptime_seconds: u64,
    revision: u64,
    ready: bool,
}

#[derive(Debug, Deserialize)]
struct Reload {
    time: Option<String>,
    result: String,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Store {
    kind: String,
    path: Option<String>,
    healthy: bool,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    aliases: Vec<Alias>,
    versions: Vec<Version>,
}

/// Shares in percent, by version; `null` where there were no requests.
#[derive(Debug, Deserialize)]
struct Alias {
    name: String,
    /// The split that requests see.
    effective: BTreeMap<String, f64>,
    achieved: Option<BTreeMap<String, Option<f64>>>,
    requests: u64,
    rollout: Option<Rollout>,
}

/// Over the window; `null` where there were no requests.
#[derive(Debug, Deserialize)]
struct Version {
    version: String,
    label: Option<String>,
    retired: bool,
    requests_per_second: Option<f64>,
    /// 0 to 1.
    error_rate: Option<f64>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    address: String,
    healthy: bool,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Node { version, uptime_seconds, revision, ready } = &self.node;
        let ready = if *ready { "ready" } else { "NOT READY" };
        writeln!(f, "weir    {version}, {ready}, revision {revision}, up {}", span(*uptime_seconds))?;
        let Reload { time, result, message } = &self.reload;
        let time = time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
        writeln!(f, "reload  {}{}", visible(&format!("{result}{time}")), told(message.as_deref()))?;
        let Store { kind, path, healthy, message } = &self.store;
        let path = path.as_ref().map(|path| format!(" {path}")).unwrap_or_default();
        let health = if *healthy { "healthy" } else { "NOT HEALTHY" };
        writeln!(f, "store   {}, {health}{}", visible(&format!("{kind}{path}")), told(message.as_deref()))?;
        if self.freeze.frozen {
            let Freeze { by, until, reason, .. } = &self.freeze;
            let text = |text: &Option<String>| visible(text.as_deref().unwrap_or("-"));
            writeln!(f, "freeze  by {} until {}{}", text(by), text(until), told(reason.as_deref()))?;
        }
        write!(f, "{}", self.unusable())?;
        if self.functions.is_empty() {
            return writeln!(f, "\nno functions");
        }
        let down = self.down();
        write!(f, "\n{}", self.aliases())?;
        let rollouts = self.functions.iter().flat_map(|function| &function.aliases);
        if let Some(running) = rollout::running(rollouts.filter_map(|alias| alias.rollout.as_ref())) {
            write!(f, "\n{running}")?;
        }
        write!(f, "\n{}", self.versions())?;
        if !down.is_empty() {
            write!(f, "\n{down}")?;
        }
        writeln!(f, "\nGOT, REQUESTS, rates and latencies are of the last {} s", self.window_seconds)
    }
}

impl Status {
    fn aliases(&self) -> Table {
        let mut table = Table::new(&[
            ("ALIAS", Side::Left),
            ("VERSION", Side::Left),
            ("ASKED", Side::Right),
            ("GOT", Side::Right),
            ("REQUESTS", Side::Right),
        ]);
        for function in &self.functions {
            for alias in &function.aliases {
                let mut asked: Vec<_> = alias.effective.iter().collect();
                asked.sort_by_key(|(version, _)| number(version));
                for (index, (version, asked)) in asked.into_iter().enumerate() {
                    let first = index == 0;
                    let name = if first { format!("{}:{}", function.name, alias.name) } else { String::new() };
                    let requests = if first { alias.requests.to_string() } else { String::new() };
                    let got = alias.achieved.as_ref().and_then(|shares| *shares.get(version)?);
                    let got = or_dash(got.map(|got| format!("{got:.2} %")));
                    table.row([name, version.clone(), format!("{asked} %"), got, requests]);
                }
            }
        }
        table
    }

    fn versions(&self) -> Table {
        let mut table = Table::new(&[
            ("VERSION", Side::Left),
            ("LABEL", Side::Left),
            ("REQ/S", Side::Right),
            ("ERRORS", Side::Right),
            ("P50 MS", Side::Right),
            ("P95 MS", Side::Right),
            ("P99 MS", Side::Right),
            ("HEALTHY", Side::Right),
        ]);
        for function in &self.functions {
            for version in &function.versions {
                let name = format!("{}:{}", function.name, version.version);
                let name = if version.retired { format!("{name} (retired)") } else { name };
                let one = |value: Option<f64>| or_dash(value.map(|value| format!("{value:.1}")));
                let errors = or_dash(version.error_rate.map(|rate| format!("{:.2} %", rate * 100.0)));
                let healthy = version.endpoints.iter().filter(|endpoint| endpoint.healthy).count();
                let all = version.endpoints.len();
                table.row([
                    name,
                    or_dash(version.label.as_deref()),
                    one(version.requests_per_second),
                    errors,
                    one(version.p50_ms),
                    one(version.p95_ms),
                    one(version.p99_ms),
                    or_dash((all > 0).then(|| format!("{healthy}/{all}"))),
                ]);
            }
        }
        table
    }

    /// A line for each thing that cannot be used.
    fn unusable(&self) -> String {
        let lines = self.unusable.iter().map(|thing| {
            let Unusable { kind, name, reason, since } = thing;
            format!("UNUSABLE  {} since {}\n", visible(&format!("{kind} of {name}: {reason}")), visible(since))
        });
        let more = self.unusable_total.saturating_sub(self.unusable.len());
        let rest = if more > 0 { format!("UNUSABLE  and {more} more\n") } else { String::new() };
        lines.chain([rest]).collect()
    }

    /// A line for each endpoint that is out.
    fn down(&self) -> String {
        let mut lines = String::new();
        for function in &self.functions {
            for version in &function.versions {
                for endpoint in version.endpoints.iter().filter(|endpoint| !endpoint.healthy) {
                    let line = format!("DOWN  {}:{} {}", function.name, version.version, endpoint.address);
                    lines += &format!("{}\n", visible(&line));
                }
            }
        }
        lines
    }
}

/// Versions in order of number; the draft last.
fn number(version: &str) -> u32 {
    version.parse().unwrap_or(u32::MAX)
}

/// ` (message)`
fn told(message: Option<&str>) -> String {
    message.map(|message| format!(" ({})", visible(message))).unwrap_or_default()
}

/// `12 s`, `3 min`, `2 h 5 min`, `4 d 3 h`
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
