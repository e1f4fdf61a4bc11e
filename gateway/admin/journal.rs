//! Who changed what, when and why.

use axum::Json;
use axum::response::IntoResponse;
use serde_json::json;

use super::call::Call;
use super::error::Failure;
use super::operation::{Answer, Content, Operation, run};
use super::since_1970;
use crate::control::Revision;
use crate::control::journal::{Checked, Query, Verdict};

/// Of the journal.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/journal", "readJournal", "Changes with author and reason, in pages.", run!(read))
            .takes_long()
            .query(&["after", "before", "order", "limit", "name", "who", "since"])
            .answers(Content::Page("entry")),
        Operation::get(
            "/v1/journal/verify",
            "verifyJournal",
            "Whether no entry was changed or left out, and what is stored is what they say.",
            run!(verify),
        )
        .takes_long()
        .answers(Content::Form("verdict")),
    ]
}

async fn read(call: Call) -> Answer {
    let since = call.parameter::<String>("since")?.map(|text| {
        since_1970(&text).ok_or_else(|| {
            Failure::invalid(format!("the parameter `since={text}`: expected a time such as `2026-01-31T12:00:00Z`"))
        })
    });
    let newest_first = match call.parameter::<String>("order")?.as_deref() {
        None | Some("newest") => true,
        Some("oldest") => false,
        Some(other) => {
            return Err(Failure::invalid(format!("the parameter `order={other}`: write `newest` or `oldest`")));
        }
    };
    let query = Query {
        after: call.parameter("after")?.unwrap_or(0),
        before: call.parameter("before")?.unwrap_or(Revision::MAX),
        newest_first,
        limit: call.limit()?,
        name: call.parameter("name")?,
        who: call.parameter("who")?,
        since: since.transpose()?,
    };
    let page = call.server.control.journal(query).await?;
    Ok(Json(json!({ "items": page.entries, "next": page.next })).into_response())
}

async fn verify(call: Call) -> Answer {
    let Checked { verdict, head, unchecked } = call.server.control.verify().await?;
    let mut told = match verdict {
        Verdict::Whole { from, to } => json!({ "ok": true, "from": from, "to": to }),
        Verdict::Broken { at, message } => json!({ "ok": false, "broken_at": at, "message": message }),
        Verdict::Differs { texts, total } => {
            let message = format!("{total} of the stored texts differ from the journal");
            json!({ "ok": false, "message": message, "differs": texts })
        }
    };
    told["head"] = head.as_str().into();
    told["unchecked"] = unchecked.into();
    Ok(Json(told).into_response())
}
