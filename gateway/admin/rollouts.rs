//! Rollouts: begun, read, and told what a person wants.

mod ask;
mod preflight;
mod shown;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use config::release::rollout::{Event, Rollout, RolloutId, Speaker, Word};
use config::value::name::{AliasName, FunctionName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Server;
use super::call::{Call, REVISION, changes, page, tell_ended};
use super::error::{Failure, problem};
use super::operation::{Answer, Content, Operation, Run, Verb, run};
use crate::control::{Author, Done, Refused};

pub(super) use shown::{freeze, of_alias};

const ALL: &str = "/v1/rollouts";

/// Of rollouts.
pub(super) fn operations() -> Vec<Operation> {
    let one = Content::Form("rollout");
    vec![
        Operation::get(
            ALL,
            "listRollouts",
            "Rollouts, the newest first: those that run and the last that are over.",
            run!(list),
        )
        .query(&["function", "alias", "state"])
        .pages("rollout"),
        Operation::change(
            Verb::Post,
            ALL,
            "beginRollout",
            "Begins a rollout: one alias, or several that step together.",
            run!(begin),
        )
        .unguarded()
        .takes("release")
        .statuses(&[201])
        .answers(one),
        Operation::get("/v1/rollouts/{id}", "getRollout", "A rollout, and what is seen of it.", run!(get)).answers(one),
        word(
            "/v1/rollouts/{id}/approve",
            "approveRollout",
            "Passes the gate that waits for somebody's word.",
            |call| Box::pin(say(call, Word::Approve)),
        ),
        word(
            "/v1/rollouts/{id}/reject",
            "rejectRollout",
            "Says no to the gate that waits for somebody's word: stable takes everything.",
            |call| Box::pin(say(call, Word::Reject)),
        ),
        word("/v1/rollouts/{id}/pause", "pauseRollout", "Stays where it is; gates still watch.", |call| {
            Box::pin(say(call, Word::Pause))
        }),
        word("/v1/rollouts/{id}/resume", "resumeRollout", "Goes on from a pause.", |call| {
            Box::pin(say(call, Word::Resume))
        }),
        word("/v1/rollouts/{id}/advance", "advanceRollout", "Ends this bake now.", |call| {
            Box::pin(say(call, Word::Advance))
        }),
        word(
            "/v1/rollouts/{id}/promote",
            "promoteRollout",
            "The candidate takes everything now and is stable.",
            |call| Box::pin(say(call, Word::Promote)),
        ),
        word(
            "/v1/rollouts/{id}/stop",
            "stopRollout",
            "Ends the rollout where it is: what requests see becomes the alias's own split.",
            |call| Box::pin(say(call, Word::Stop)),
        ),
        word(
            "/v1/rollouts/{id}/abort",
            "abortRollout",
            "Stable takes everything now; nothing happens when the rollout is over.",
            |call| Box::pin(say(call, Word::Abort)),
        ),
    ]
}

/// One that tells a rollout something.
fn word(path: &'static str, id: &'static str, summary: &'static str, run: Run) -> Operation {
    Operation::act(Verb::Post, path, id, summary, run).may_take("said").answers(Content::Form("rollout"))
}

async fn list(call: Call) -> Answer {
    let limit = call.limit()?;
    let (function, alias) = (call.parameter::<FunctionName>("function")?, call.parameter::<AliasName>("alias")?);
    let over = match call.parameter::<String>("state")?.as_deref() {
        None => None,
        Some("running") => Some(false),
        Some("over") => Some(true),
        Some(other) => {
            return Err(Failure::invalid(format!("the parameter `state={other}`: write `running` or `over`")));
        }
    };
    let before = call.parameter::<RolloutId>("after")?.unwrap_or(RolloutId(u64::MAX));
    let is_asked_for = |rollout: &Rollout| {
        let named = rollout.members.iter().any(|member| {
            function.as_ref().is_none_or(|name| *name == member.function)
                && alias.as_ref().is_none_or(|name| *name == member.alias)
        });
        named && over.is_none_or(|over| over == rollout.is_over())
    };
    let rollouts = call.server.control.rollouts().borrow().clone();
    let found = rollouts.all.range(..before).rev().filter(|(_, rollout)| is_asked_for(rollout)).take(limit + 1);
    let items = found.map(|(id, rollout)| (*id, shown::rollout(&call.server, rollout)));
    Ok(page(items.collect(), limit))
}

async fn get(call: Call) -> Answer {
    let id = call.name("id")?;
    Ok(Json(find(&call.server, id)?).into_response())
}

async fn begin(mut call: Call) -> Answer {
    let (ask, is_checked) = ask::read(&mut call)?;
    let dry_run = call.dry_run()?;
    let config = call.live().config;
    let warnings = if is_checked { preflight::warnings(&call.server, &config, &ask)? } else { Vec::new() };
    let outlooks = preflight::outlooks(&call.server, &config, &ask);
    let warned = |mut answer: Value| {
        if !outlooks.is_empty() {
            answer["outlook"] = outlooks.as_slice().into();
        }
        if !warnings.is_empty() {
            answer["warnings"] = warnings.iter().map(problem).collect();
        }
        Json(answer)
    };
    let done = call.server.control.release(call.author.clone(), ask, dry_run).await.map_err(unfit)?;
    if dry_run {
        let mut changes = json!({ "changes": changes(&done.before, &done.after) });
        tell_ended(&mut changes, &done.ended);
        return Ok(([(REVISION, HeaderValue::from(done.revision))], warned(changes)).into_response());
    }
    let id = RolloutId(done.revision);
    call.done(done, |shown| {
        let location = HeaderValue::try_from(format!("{ALL}/{id}")).expect("a path of letters and digits is a header");
        let mut rollout = find(&call.server, id)?;
        shown.tell_ended(&mut rollout);
        Ok((StatusCode::CREATED, [(header::LOCATION, location)], warned(rollout)).into_response())
    })
}

/// What stands in the way of a rollout is not the request's form, but how things stand.
fn unfit(refused: Refused) -> Failure {
    match refused {
        Refused::Problems(problems) if problems.iter().all(|problem| problem.code.is_none()) => {
            Failure::problems_as("RolloutState", problems)
        }
        refused => refused.into(),
    }
}

/// What may come with a word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    reason: Option<String>,
}

async fn say(mut call: Call, word: Word) -> Answer {
    let id: RolloutId = call.name("id")?;
    let Said { reason } = call.form()?;
    call.because(reason)?;
    let done = tell(&call.server, call.author.clone(), id, word, None).await?;
    call.done(done, |_| Ok(Json(find(&call.server, id)?).into_response()))
}

/// Tells a rollout a word in the author's name, about this step or where it stands.
///
/// # Errors
/// Why it does not fit.
pub(super) async fn tell(
    server: &Server,
    author: Author,
    id: RolloutId,
    word: Word,
    step: Option<usize>,
) -> Result<Done, Refused> {
    let speaker = Speaker { who: author.who.clone(), why: author.why.clone() };
    server.control.tell(author, id, Event::Said { word, speaker, step }).await
}

fn find(server: &Server, id: RolloutId) -> Result<Value, Failure> {
    let rollouts = server.control.rollouts();
    let rollout = rollouts.borrow().all.get(&id).cloned();
    let rollout = rollout.ok_or_else(|| Failure::not_found(&format!("rollout {id}")))?;
    Ok(shown::rollout(server, &rollout))
}
