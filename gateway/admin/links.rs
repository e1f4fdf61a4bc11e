//! Answers by link: somebody approves or rejects with a browser, a hook answers later. Nobody shows a bearer token here: the
//! token in the path is the right to say this one thing once.

mod page;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use config::model::Decision;
use config::release::rollout::{Phase, Report, Rollout, Word};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Server;
use super::auth::Access;
use super::call::Call;
use super::error::Failure;
use super::operation::{Answer, Content, Operation, Verb, run};
use super::rollouts;
use crate::control::conduct::Ballot;
use crate::control::{Author, Refused};
use crate::hook;
use page::Page;

const BALLOT: &str = "/v1/ballots/{token}";
const HTML: &str = "text/html";
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
    let page = Page::new(&format!("{verb} {}?", names(&rollout)));
    let page = page.say(&format!("Step {} waits for somebody's word.", ballot.step + 1));
    let page = page.report(&report(&call.server, &ballot, &rollout)).say(consequence).button(verb);
    Ok(page.answer(StatusCode::OK))
}

/// What is known now. After a restart counts begin anew: until there are as many, what was told with the link.
fn report(server: &Server, ballot: &Ballot, rollout: &Rollout) -> Report {
    let sights = server.control.sights();
    let now = sights.borrow().get(&rollout.id).map(|sight| Report::new(rollout, &json!(sight)));
    let is_fuller = |now: &Report| now.requests() >= ballot.report.requests();
    now.filter(is_fuller).unwrap_or_else(|| (*ballot.report).clone())
}

async fn cast(call: Call) -> Answer {
    let token: String = call.name("token")?;
    // Taken before it is said: of two clicks one counts, and none for the step after.
    let ballot = call.server.control.ballots().take(&token);
    let Some((ballot, rollout)) = ballot.and_then(|ballot| still_open(&call.server, ballot)) else {
        return spent(&call.headers);
    };
    let Ballot { rollout: id, step, word, notifier, .. } = ballot;
    let author = Author::of(&format!("link of {notifier} from {}", call.client.peer));
    let done = match rollouts::tell(&call.server, author, id, word, Some(step)).await {
        Err(Refused::Rollout(_)) => return spent(&call.headers),
        done => done?,
    };
    let said = if word == Word::Approve { "Approved" } else { "Rejected" };
    call.done(done, |_| {
        let page = Page::new(&format!("{said}: {}", names(&rollout)));
        Ok(page.say("This link is used up. Nothing more is needed here.").answer(StatusCode::OK))
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
    let text = "This link is worth nothing any more: it was used already, its question is over, or the gateway has restarted \
                since, and has sent new links. `weir rollouts` shows how things stand; `weir approve FUNCTION:ALIAS` and \
                `weir reject FUNCTION:ALIAS` answer by command.";
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains(HTML) {
        return Ok(Page::new("Nothing is asked here").say(text).answer(StatusCode::NOT_FOUND));
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
