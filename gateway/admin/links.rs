//! Answers by link: somebody approves or rejects with a browser, a hook answers later. Nobody shows a bearer token here: the
//! token in the path is the right to say this one thing once.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use config::model::Decision;
use config::release::rollout::{Phase, Rollout, Word};
use serde::Deserialize;
use serde_json::Value;

use super::Server;
use super::auth::Access;
use super::call::Call;
use super::error::Failure;
use super::operation::{Answer, Content, Operation, Verb, run};
use super::rollouts;
use crate::control::conduct::Ballot;
use crate::control::{Author, Refused};
use crate::hook;

const BALLOT: &str = "/v1/ballots/{token}";
const HTML: &str = "text/html";
/// Nothing but the page itself. A form whose page sends no referrer has no origin either, and would be refused: so the
/// referrer, which holds the token, stays within the origin.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// Of links.
pub(super) fn operations() -> Vec<Operation> {
    let open = |verb, path, id, summary, run| Operation::act(verb, path, id, summary, run).access(Access::Open);
    vec![
        Operation::get(BALLOT, "lookAtBallot", "What somebody is asked, as a page with one button.", run!(look))
            .access(Access::Open)
            .answers(Content::Text(HTML)),
        open(Verb::Post, BALLOT, "castBallot", "Says what the link says, once.", run!(cast))
            .answers(Content::Text(HTML)),
        open(
            Verb::Post,
            "/v1/callbacks/{token}",
            "answerHook",
            "The answer of a hook that did not answer at once.",
            run!(answer),
        )
        .takes("hookAnswer")
        .statuses(&[204]),
    ]
}

async fn look(call: Call) -> Answer {
    let token: String = call.name("token")?;
    let ballot = call.server.control.ballots().look(&token);
    let Some((ballot, rollout)) = ballot.and_then(|ballot| still_open(&call.server, ballot)) else {
        return spent(&call.headers);
    };
    let (verb, consequence) = match ballot.word {
        Word::Approve => ("Approve", "The rollout goes on with its plan."),
        _ => ("Reject", "All traffic goes back to the stable version."),
    };
    let text = format!(
        "Step {} of {} of rollout {} waits for somebody's word. The candidate has {} % of the traffic.",
        ballot.step + 1,
        rollout.plan.steps.len(),
        rollout.id,
        rollout.weight
    );
    let title = format!("{verb} {}?", names(&rollout));
    Ok(page(StatusCode::OK, &title, &[&text, consequence], Some(verb)))
}

async fn cast(call: Call) -> Answer {
    let token: String = call.name("token")?;
    // Taken before it is said: of two clicks one counts, and none for the step after.
    let ballot = call.server.control.ballots().take(&token);
    let Some((ballot, rollout)) = ballot.and_then(|ballot| still_open(&call.server, ballot)) else {
        return spent(&call.headers);
    };
    let Ballot { rollout: id, step, word } = ballot;
    let done = match rollouts::tell(&call.server, Author::of("link"), id, word, Some(step)).await {
        Err(Refused::Rollout(_)) => return spent(&call.headers),
        done => done?,
    };
    let said = if word == Word::Approve { "Approved" } else { "Rejected" };
    call.done(done, |_| {
        let title = format!("{said}: {}", names(&rollout));
        Ok(page(StatusCode::OK, &title, &["This link is used up. Nothing more is needed here."], None))
    })
}

/// The rollout that asks, while it still asks about this step.
fn still_open(server: &Server, ballot: Ballot) -> Option<(Ballot, Arc<Rollout>)> {
    let rollouts = server.control.rollouts();
    let rollout = rollouts.borrow().all.get(&ballot.rollout).cloned()?;
    let asks =
        matches!(rollout.phase, Phase::Baking { step, .. } | Phase::Deciding { step, .. } if step == ballot.step);
    asks.then_some((ballot, rollout))
}

/// A person gets a page, a program what programs get.
fn spent(headers: &HeaderMap) -> Answer {
    let text = "This link was used already, or its question is over. `weir rollouts` shows how things stand.";
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains(HTML) {
        return Ok(page(StatusCode::NOT_FOUND, "Nothing is asked here", &[text], None));
    }
    Err(Failure::new("NotFound", text))
}

/// `shop:prod, version 1 to 2`
fn names(rollout: &Rollout) -> String {
    let named = rollout.members.iter().map(|member| {
        let stable = member.stable.map(|stable| format!("{stable} to ")).unwrap_or_default();
        format!("{}:{}, version {stable}{}", member.function, member.alias, member.candidate)
    });
    named.collect::<Vec<_>>().join("; ")
}

/// A page without scripts; with a button, it posts to where it came from.
fn page(status: StatusCode, title: &str, texts: &[&str], button: Option<&str>) -> Response {
    let title = escaped(title);
    let texts: String = texts.iter().map(|text| format!("<p>{}</p>\n", escaped(text))).collect();
    let form = button.map(|verb| format!("<form method=\"post\"><button>{}</button></form>\n", escaped(verb)));
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font:1.1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}}\
         button{{font:inherit;padding:.5rem 1.5rem}}</style>\n\
         <h1>{title}</h1>\n{texts}{}</html>\n",
        form.unwrap_or_default()
    );
    (status, HEADERS, html).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What a hook says later.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HookAnswer {
    decision: Said,
    #[serde(default)]
    output: Value,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Approve,
    Reject,
}

async fn answer(call: Call) -> Answer {
    let token: String = call.name("token")?;
    let HookAnswer { decision, output } = call.form()?;
    let decision = match decision {
        Said::Approve => Decision::Approve,
        Said::Reject => Decision::Reject,
    };
    call.server
        .hooks
        .answer(&token, hook::Answer { decision, output })
        .map_err(|unknown| Failure::new("NotFound", unknown.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
