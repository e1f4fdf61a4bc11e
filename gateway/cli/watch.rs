//! A rollout as it goes: its milestones from the journal, and live bars on a terminal.

mod screen;

use std::io::{IsTerminal, stdout};
use std::thread;
use std::time::{Duration, Instant};

use config::text::problem::visible;
use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::ask::Ask;
use super::failure::Failure;
use super::local::print_some;
use super::remote::{Answer, Call, Remote};
use super::rollout::{PATH, Rollout, Target, newest, path, read};
use crate::clock;
use screen::Screen;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(200);
/// The whole of one look.
const LOOK: Duration = Duration::from_secs(5);
/// How long a gateway may be away before nobody waits for it any more.
const AWAY: Duration = Duration::from_secs(60);
/// Entries of the journal that are read at a time.
const CHUNK: usize = 100;
/// What a shell makes of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// `weir watch`
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// The alias, such as `shop:prod`, or the id of a rollout, such as `r12`; without it, the one that runs
    #[arg(value_name = "FUNCTION:ALIAS|ROLLOUT")]
    target: Option<Target>,
    /// Print each milestone, and in the end the rollout, as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Ask for Watch {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let id = match &self.target {
            Some(Target::Id(id)) => id.to_string(),
            Some(Target::Alias(alias)) => match newest(remote, alias, false)? {
                Some(rollout) => rollout.id,
                None => {
                    let failure = Failure::new(Exit::Failed, format!("there was no rollout on {alias} yet"));
                    return Err(failure.hint(format!("`weir release {alias} VERSION` begins one")));
                }
            },
            None => only_one(remote)?,
        };
        let shown = if self.json { Shown::Json } else { Shown::by_terminal() };
        Ok(follow(remote, &id, shown, Until::Over)?.exit)
    }
}

/// The id of the rollout that runs.
fn only_one(remote: &Remote) -> Result<String, Failure> {
    let call = Call::new(Method::GET, PATH).query("state", Some("running"));
    let answer = remote.call(call)?;
    let running = answer.json["items"].as_array().into_iter().flatten().map(read).collect::<Result<Vec<_>, _>>()?;
    match &*running {
        [one] => Ok(one.id.clone()),
        [] => {
            let failure = Failure::new(Exit::Failed, "no rollout is running");
            Err(failure.hint("`weir rollouts` shows those that ran; name one to see how it went"))
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|rollout| rollout.id.as_str()).collect();
            Err(Failure::usage(format!("{} rollouts run: name one of {}", ids.len(), ids.join(", "))))
        }
    }
}

/// In which form a rollout is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Milestones, and below them bars that are drawn again in place.
    Bars,
    /// Milestones, one line each.
    Lines,
    /// The same as JSON.
    Json,
    Nothing,
}

impl Shown {
    /// Bars where they can be drawn.
    pub(super) fn by_terminal() -> Self {
        if stdout().is_terminal() { Self::Bars } else { Self::Lines }
    }
}

/// How long a rollout is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Over,
    /// Or a plan holds, and goes no further by itself.
    Held,
}

/// Where a rollout was left.
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) json: Value,
}

/// Shows a rollout until it is over. A gateway that restarts meanwhile is waited for.
///
/// # Errors
/// What a call finds wrong; a gateway that stays away.
pub(super) fn follow(remote: &Remote, id: &str, shown: Shown, until: Until) -> Result<Ended, Failure> {
    leave_on_interrupt(id.to_owned());
    let begun = id.trim_start_matches('r').parse::<u64>().unwrap_or(1);
    let mut view =
        View { remote, id, shown, told: begun.saturating_sub(1), screen: Screen::default(), away_since: None };
    loop {
        match view.look(until) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => {}
            Err(failure) => view.wait_for_gateway(failure)?,
        }
        thread::sleep(PERIOD);
    }
}

/// One rollout under the eyes of a person.
struct View<'r> {
    remote: &'r Remote,
    id: &'r str,
    shown: Shown,
    /// The last revision whose news were told.
    told: u64,
    screen: Screen,
    away_since: Option<Instant>,
}

impl View<'_> {
    fn look(&mut self, until: Until) -> Result<Option<Ended>, Failure> {
        let call = Call::new(Method::GET, path(self.id)).within(Some(LOOK));
        let Answer { revision, json, .. } = self.remote.call(call)?;
        let rollout = read(&json)?;
        let news = if revision.is_none_or(|revision| revision > self.told) { self.news()? } else { Vec::new() };
        self.told = self.told.max(revision.unwrap_or(0));
        self.away_since = None;
        let ends_here = rollout.outcome.is_some() || until == Until::Held && rollout.holds();
        if !ends_here {
            return Ok(self.draw(&news, Some(&rollout)).map(|exit| Ended { exit, json }));
        }
        let exit = self.draw(&news, None).or_else(|| self.conclude(&rollout, &json));
        Ok(Some(Ended { exit: exit.unwrap_or(rollout.exit()), json }))
    }

    /// What the journal tells of the rollout since the last look.
    fn news(&mut self) -> Result<Vec<Value>, Failure> {
        let mut told = Vec::new();
        loop {
            let call = Call::new(Method::GET, "/v1/journal")
                .query("after", Some(self.told))
                .query("order", Some("oldest"))
                .query("limit", Some(CHUNK));
            let page = self.remote.call(call.within(Some(LOOK)))?.json;
            let entries = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            for entry in entries {
                let of_this = entry["news"].as_array().into_iter().flatten().filter(|news| news["rollout"] == self.id);
                told.extend(of_this.map(|news| {
                    json!({ "time": entry["time"], "rollout": self.id, "kind": news["kind"], "text": news["text"],
                        "weight": news["weight"] })
                }));
                self.told = entry["revision"].as_u64().map_or(self.told, |revision| revision.max(self.told));
            }
            if entries.len() < CHUNK {
                return Ok(told);
            }
        }
    }

    /// Shows what is new; an exit code when nobody reads on.
    fn draw(&mut self, news: &[Value], rollout: Option<&Rollout>) -> Option<Exit> {
        let lines: Vec<String> = match self.shown {
            Shown::Bars | Shown::Lines => news.iter().map(milestone).collect(),
            Shown::Json => news.iter().map(Value::to_string).collect(),
            Shown::Nothing => return None,
        };
        if self.shown == Shown::Bars {
            let bars = rollout.map(screen::bars).unwrap_or_default();
            return print_some(&self.screen.frame(&lines, &bars));
        }
        if lines.is_empty() { None } else { print_some(&format!("{}\n", lines.join("\n"))) }
    }

    /// The last line.
    fn conclude(&self, rollout: &Rollout, json: &Value) -> Option<Exit> {
        let hint = if rollout.holds() { "; `weir promote` or `weir abort` decides" } else { "" };
        match self.shown {
            Shown::Bars | Shown::Lines => print_some(&format!("{rollout}{hint}\n")),
            Shown::Json => print_some(&format!("{json}\n")),
            Shown::Nothing => None,
        }
    }

    /// Keeps on for a while when a gateway does not answer, as while it restarts.
    fn wait_for_gateway(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.exit != Exit::Unreachable && !failure.is_passing {
            return Err(failure);
        }
        let Some(since) = self.away_since else {
            eprintln!(
                "weir: the gateway does not answer; the rollout is kept by it, and this waits for it to come back"
            );
            self.away_since = Some(clock::now());
            self.screen = Screen::default();
            return Ok(());
        };
        if since.elapsed() < AWAY {
            return Ok(());
        }
        Err(failure.hint(format!("`weir watch {}` goes on when the gateway is back", self.id)))
    }
}

/// `2026-11-21T09:00:00.000Z  r12  step  step 1 of 3: the candidate gets 40 %`
fn milestone(news: &Value) -> String {
    let text = |name: &str| visible(news[name].as_str().unwrap_or("-"));
    format!("{}  {}  {}: {}", text("time"), text("rollout"), text("kind"), text("text"))
}

/// Ctrl-C ends the command and not the rollout.
fn leave_on_interrupt(id: String) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        // Without a runtime Ctrl-C does what it always does.
        let Ok(runtime) = runtime else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            eprintln!("\nweir: rollout {id} goes on; `weir watch {id}` shows it, `weir abort {id}` stops it");
            std::process::exit(INTERRUPTED);
        }
    });
}
