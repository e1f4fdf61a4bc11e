//! The draft of a function, `$LATEST`.

use axum::http::StatusCode;
use config::text::edit::{Edit, FunctionEdit};
use config::text::format::json;
use config::text::parse;
use config::value::name::FunctionName;

use super::call::{Call, Shown, put_status, resource};
use super::functions::find;
use super::operation::{Answer, Content, Operation, Verb, run};
use super::patch::patched;

const ONE: &str = "/v1/functions/{function}/draft";

/// Of drafts.
pub(super) fn operations() -> Vec<Operation> {
    let answer = Content::Form("versionResource");
    vec![
        Operation::get(ONE, "getDraft", "The draft, `$LATEST`.", run!(get)).answers(answer),
        Operation::change(
            Verb::Put,
            ONE,
            "putDraft",
            "Sets the draft; creates the function if it is missing.",
            run!(put),
        )
        .takes("draft")
        .statuses(&[200, 201])
        .answers(answer),
        Operation::change(
            Verb::Patch,
            ONE,
            "patchDraft",
            "Changes some fields of the draft: what is absent stays, null gives the default (RFC 7396).",
            run!(patch),
        )
        .takes("draft")
        .answers(answer),
        Operation::change(Verb::Delete, ONE, "deleteDraft", "Deletes the draft.", run!(delete)),
    ]
}

fn text(function: &FunctionName) -> String {
    format!("draft/{function}")
}

async fn get(call: Call) -> Answer {
    let function = call.name("function")?;
    show(&call.live(), &function)
}

async fn put(call: Call) -> Answer {
    let function: FunctionName = call.name("function")?;
    let draft = call.read(|text, env| parse::parse_draft(&path(&function), text, env))?;
    let edits = vec![
        Edit::CreateFunction(function.clone()),
        Edit::Function(function.clone(), FunctionEdit::Draft(Some(draft.into()))),
    ];
    call.edit(&text(&function), edits, |shown| {
        let existed = shown.before.functions.get(&function).is_some_and(|function| function.draft.is_some());
        let mut response = show(shown, &function)?;
        *response.status_mut() = put_status(existed);
        Ok(response)
    })
    .await
}

async fn patch(mut call: Call) -> Answer {
    let function: FunctionName = call.name("function")?;
    let shown = call.live();
    let draft = find(&shown.config, &function)?.draft.as_deref();
    let draft = draft.ok_or_else(|| shown.lacks(&text(&function), &format!("draft of function `{function}`")))?;
    let mut now = json::draft(draft);
    now.as_object_mut().map(|fields| fields.remove("digest"));
    call.body = patched(now, &call.form()?);
    call.assume(shown.revision_of(&text(&function)));
    put(call).await
}

async fn delete(call: Call) -> Answer {
    let function: FunctionName = call.name("function")?;
    find(&call.live().config, &function)?;
    let edits = vec![Edit::Function(function.clone(), FunctionEdit::Draft(None))];
    call.edit(&text(&function), edits, |shown| Ok(shown.gone())).await
}

fn path(function: &FunctionName) -> String {
    format!("functions.{function}.draft")
}

fn show(shown: &Shown, function: &FunctionName) -> Answer {
    let draft = find(&shown.config, function)?.draft.as_deref();
    let draft = draft.ok_or_else(|| shown.lacks(&text(function), &format!("draft of function `{function}`")))?;
    Ok(resource(StatusCode::OK, shown.resource(&text(function), "$LATEST", json::draft(draft))))
}
