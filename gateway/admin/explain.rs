//! Explanations of requests, of the present and of the past.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::http::HeaderValue;
use axum::response::IntoResponse;
use config::model::Config;
use config::route::explain::{explain, explain_again};
use config::route::head::RequestHead;
use config::route::resolve::{Draw, Past, Reason};
use config::route::slot::Owed;
use config::route::table::{AliasIndex, Table, UpstreamIndex};
use config::text::parse;
use config::value::name::{AliasName, VersionId};
use serde::Deserialize;

use super::asked::Text;
use super::auth::Access;
use super::call::{Call, REVISION};
use super::error::Failure;
use super::operation::{Answer, Content, Operation, Verb, run};
use crate::control::Revision;

/// Of explanations.
pub(super) fn operations() -> Vec<Operation> {
    let summary =
        "Where a request goes, step by step; where one of the past went; with a file to explain it by, for viewers.";
    vec![
        Operation::act(Verb::Post, "/v1/explain", "explain", summary, run!(explained))
            .access(Access::Read)
            .takes_long()
            .takes("question")
            .answers(Content::Form("explanation")),
    ]
}

/// A request to explain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    host: String,
    #[serde(default = "root")]
    path: String,
    #[serde(default = "get_method")]
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default = "this_machine")]
    client: IpAddr,
    /// A file to explain it by, instead of what is live.
    config: Option<String>,
    /// The revision to explain it by.
    revision: Option<Revision>,
    /// The slot that it draws, if it draws one.
    slot: Option<u64>,
    /// The content of its line in the access log.
    drawn: Option<Drawn>,
}

/// The reason for a version, as a line of the access log tells it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drawn {
    reason: String,
    alias: Option<Text<AliasName>>,
    version: Text<VersionId>,
    rule: Option<u32>,
    bucket: Option<u16>,
    slot: Option<u64>,
    owed: Option<Text<Owed>>,
}

fn root() -> String {
    "/".into()
}

fn get_method() -> String {
    "GET".into()
}

fn this_machine() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

impl Drawn {
    fn reason(&self) -> Result<Reason, Failure> {
        let position = match &*self.reason {
            "direct" => Some(Reason::Direct),
            "override" => Some(Reason::Override),
            "random" => Some(Reason::Random),
            "stable" => Some(Reason::Stable),
            "only" => Some(Reason::Only),
            "rule" => self.rule.map(Reason::Rule),
            "bucket" => self.bucket.filter(|bucket| *bucket < 10_000).map(Reason::Bucket),
            "slot" => self.slot.map(Reason::Slot),
            other => return Err(Failure::invalid(format!("the body: drawn: `{other}` is no reason"))),
        };
        position.ok_or_else(|| Failure::invalid(format!("the body: drawn: `{0}` needs its number, `{0}`", self.reason)))
    }
}

async fn explained(call: Call) -> Answer {
    let mut question: Question = call.form()?;
    if !question.path.starts_with('/') {
        return Err(Failure::invalid(format!("the body: path: `{}` does not start with `/`", question.path)));
    }
    for (name, _) in &mut question.headers {
        name.make_ascii_lowercase();
    }
    let (path, query) = match question.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*question.path, None),
    };
    let head = RequestHead {
        method: &question.method,
        host: &question.host,
        path,
        query,
        headers: &*question.headers,
        client: question.client,
    };
    let snapshot = call.server.live.load_full();
    let is_asked_of_live = question.slot.is_none() && question.drawn.is_none();
    let (config, revision) = match (&question.config, question.revision) {
        (Some(_), Some(_)) => {
            return Err(Failure::invalid("the body: give `config` or `revision`, and not both"));
        }
        (Some(file), None) => {
            call.needs_token("a file to explain a request by")?;
            (parse::parse(file, &parse::unresolved).map_err(Failure::problems)?.0, None)
        }
        (None, None) if is_asked_of_live => {
            let mut answer = explain(&snapshot.table, &head, &mut snapshot.peek()).json();
            answer["revision"] = snapshot.revision.into();
            return Ok(([(REVISION, HeaderValue::from(snapshot.revision))], Json(answer)).into_response());
        }
        (None, revision) => {
            let revision = revision.unwrap_or(snapshot.revision);
            (call.server.control.config_at(revision).await?, Some(revision))
        }
    };
    by(&config, revision, &head, &question)
}

/// Explains by a configuration that is not what is live.
fn by(
    config: &Config,
    revision: Option<Revision>,
    head: &RequestHead<'_, [(String, String)]>,
    question: &Question,
) -> Answer {
    let (table, mut draw) = (Table::compile(config), Slot(question.slot.unwrap_or(0)));
    let explanation = match &question.drawn {
        None => explain(&table, head, &mut draw),
        Some(drawn) => {
            let past = Past {
                alias: drawn.alias.as_ref().map(|alias| &alias.0),
                version: drawn.version.0,
                reason: drawn.reason()?,
                owed: drawn.owed.as_ref().map(|owed| &owed.0),
            };
            explain_again(&table, head, &past, &mut draw).map_err(|why| {
                let when =
                    revision.map_or_else(|| "in this file".to_owned(), |revision| format!("at revision {revision}"));
                Failure::new("NotFound", format!("the request cannot have gone that way {when}: {why}"))
            })?
        }
    };
    let mut answer = explanation.json();
    if let Some(revision) = revision {
        answer["revision"] = revision.into();
    }
    Ok(Json(answer).into_response())
}

/// Draws for what runs nowhere: this slot, and every version is healthy.
struct Slot(u64);

impl Draw for Slot {
    fn slot(&mut self, _: AliasIndex) -> u64 {
        self.0
    }

    fn random(&mut self) -> u64 {
        0
    }

    fn healthy(&self, _: UpstreamIndex) -> bool {
        true
    }
}
