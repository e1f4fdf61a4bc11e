//! Everything that the store holds as one text.

use axum::http::header;
use axum::response::IntoResponse;

use super::auth::Access;
use super::call::Call;
use super::operation::{Answer, Content, Operation, run};
use crate::control::tokens::Role;

const LINES: &str = "application/x-ndjson";

/// Of backups.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/v1/export",
            "exportAll",
            "Everything that the store holds, hashes of tokens included.",
            run!(export),
        )
        .takes_long()
        .access(Access::Role(Role::Admin))
        .answers(Content::Text(LINES)),
    ]
}

async fn export(call: Call) -> Answer {
    Ok(([(header::CONTENT_TYPE, LINES)], call.server.control.export().await?).into_response())
}
