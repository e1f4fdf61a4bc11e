//! What was changed, by whom and why: read, followed and verified.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use config::text::problem::visible;
use reqwest::Method;
use reqwest::blocking::Response;
use serde_json::Value;

use super::Exit;
use super::ask::{Ask, Form};
use super::failure::Failure;
use super::local::{pretty, print, print_some};
use super::remote::{Call, Remote, live_revision};
use super::target::Scope;

/// `weir history`
#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// Only changes of this function or alias
    #[arg(value_name = "FUNCTION[:ALIAS]")]
    scope: Option<Scope>,
    /// Only changes by this token
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only changes since this time, such as `2026-11-21T09:00:00Z`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// So many, the newest first
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    form: Form,
}

impl Ask for History {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let call = Call::new(Method::GET, "/v1/journal")
            .query("name", self.scope.as_ref().map(Scope::journal_name))
            .query("who", self.who.as_ref())
            .query("since", self.since.as_ref())
            .query("limit", Some(self.limit));
        let answer = remote.call(call)?;
        let items = &answer.json["items"];
        Ok(self.form.show(items, || {
            let entries: Vec<String> = items.as_array().into_iter().flatten().map(entry).collect();
            if entries.is_empty() { "nothing was changed\n".to_owned() } else { entries.join("\n") }
        }))
    }
}

/// `42  2026-11-21T09:00:00Z  ci`, and below it what and why.
fn entry(entry: &Value) -> String {
    let text = |name: &str| visible(entry[name].as_str().unwrap_or("-"));
    let mut lines = format!("{}  {}  {}\n", entry["revision"], text("time"), text("who"));
    for what in entry["what"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        lines += &format!("    {}\n", visible(what));
    }
    if let Some(why) = entry["why"].as_str() {
        lines += &format!("    why: {}\n", visible(why));
    }
    lines
}

/// `weir events`
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Begin with the changes after this revision; otherwise with the next one
    #[arg(long, value_name = "REVISION")]
    after: Option<u64>,
    /// Print each change as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The first pause before a stream that broke is asked for again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Pauses in a row without an answer between them; together a minute.
const PAUSES: u32 = 8;

impl Ask for Events {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let call = || Call::new(Method::GET, "/v1/events").accept("text/event-stream").within(None);
        let mut stream = remote.send(call().query("after", self.after))?;
        // Changes that come while the first stream is broken are after what was live when it began.
        let mut last = self.after.or_else(|| live_revision(&stream));
        loop {
            if let Some(exit) = self.follow(stream, &mut last) {
                return Ok(exit);
            }
            eprintln!("weir: the stream broke; asking again");
            stream = again(last, || remote.send(call().after_event(last)))?;
        }
    }
}

/// Asks until there is an answer, with longer and longer pauses.
fn again(last: Option<u64>, ask: impl Fn() -> Result<Response, Failure>) -> Result<Response, Failure> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..PAUSES {
        std::thread::sleep(pause);
        pause *= 2;
        match ask() {
            Err(failure) if failure.exit == Exit::Unreachable => {}
            answer => return answer,
        }
    }
    let failure = Failure::new(Exit::Unreachable, "the stream broke, and the gateway does not answer any more");
    Err(match last {
        Some(last) => failure.hint(format!("`weir events --after {last}` goes on where it ended")),
        None => failure.hint("is `weir serve` running?"),
    })
}

impl Events {
    /// Prints what comes until the stream breaks; the exit code when nobody reads on.
    fn follow(&self, stream: Response, last: &mut Option<u64>) -> Option<Exit> {
        let mut event = Event::default();
        for line in BufReader::new(stream).lines() {
            let line = line.ok()?;
            if !line.is_empty() {
                event.line(&line);
                continue;
            }
            let Event { kind, data, id } = std::mem::take(&mut event);
            *last = id.or(*last);
            if kind == "gap" {
                eprintln!("weir: changes are missing here: the journal does not reach back that far");
            } else if kind == "change"
                && let Some(exit) = self.print(&data)
            {
                return Some(exit);
            }
        }
        None
    }

    fn print(&self, data: &str) -> Option<Exit> {
        let value: Value = serde_json::from_str(data).unwrap_or_default();
        print_some(&if self.json { format!("{value}\n") } else { entry(&value) })
    }
}

/// One server-sent event, line by line.
#[derive(Debug, Default)]
struct Event {
    kind: String,
    data: String,
    id: Option<u64>,
}

impl Event {
    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => self.data += value,
            "id" => self.id = value.parse().ok(),
            // A comment, or a field of a later standard.
            _ => {}
        }
    }
}

/// `weir verify`
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    form: Form,
}

impl Ask for Verify {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let answer = remote.get("/v1/journal/verify")?.json;
        if self.form.json {
            print(&pretty(&answer));
        }
        if answer["ok"] != true {
            let message = answer["message"].as_str().unwrap_or("it does not fit together");
            let at = &answer["broken_at"];
            if let Some(differs) = answer["differs"].as_array() {
                let lines = differs.iter().filter_map(Value::as_str).map(|line| format!("\n  {}", visible(line)));
                return Err(Failure::new(Exit::Failed, format!("{}{}", visible(message), lines.collect::<String>())));
            }
            return Err(Failure::new(
                Exit::Failed,
                format!("the journal is broken at revision {at}: {}", visible(message)),
            ));
        }
        Ok(if self.form.json {
            Exit::Ok
        } else {
            let whole = format!("the journal is whole, revisions {} to {}\n", answer["from"], answer["to"]);
            let head = answer["head"].as_str().map(|head| format!("hash of the last line: {}\n", visible(head)));
            let unchecked = answer["unchecked"].as_u64().filter(|count| *count > 0);
            let older =
                unchecked.map(|count| format!("{count} texts are older than the journal, and were not compared\n"));
            print(&[Some(whole), head, older].into_iter().flatten().collect::<String>())
        })
    }
}
