//! Tokens of the admin API. A secret is in one answer, the one to its creation.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

use super::auth::Access;
use super::call::{Call, page};
use super::error::Failure;
use super::operation::{Answer, Content, Operation, Verb, run};
use super::rfc3339;
use crate::control::Refused;
use crate::control::tokens::Role;

const ALL: &str = "/v1/tokens";

/// Of tokens.
pub(super) fn operations() -> Vec<Operation> {
    let admin = Access::Role(Role::Admin);
    vec![
        Operation::get(ALL, "listTokens", "Lists tokens, without their secrets.", run!(list))
            .access(admin)
            .pages("token"),
        Operation::act(Verb::Post, ALL, "createToken", "Creates a token; its secret is shown this once.", run!(create))
            .access(admin)
            .takes("newToken")
            .statuses(&[201])
            .answers(Content::Form("createdToken")),
        Operation::act(Verb::Delete, "/v1/tokens/{name}", "revokeToken", "Revokes a token at once.", run!(revoke))
            .access(admin),
    ]
}

/// A token to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    role: Role,
}

async fn list(call: Call) -> Answer {
    let (limit, after) = (call.limit()?, call.parameter::<String>("after")?);
    let tokens = call.server.control.tokens().list();
    let tokens = tokens.into_iter().filter(|token| after.as_ref().is_none_or(|after| token.name > *after));
    let items = tokens.take(limit + 1).map(|token| {
        let created = rfc3339(std::time::Duration::from_secs(token.created));
        let item = json!({ "name": token.name, "role": token.role, "created": created });
        (token.name, item)
    });
    Ok(page(items.collect(), limit))
}

async fn create(call: Call) -> Answer {
    let New { name, role } = call.form()?;
    let created = call.server.control.create_token(call.author.clone(), &name, role).await;
    let secret = created.map_err(|refused| match refused {
        Refused::Precondition { .. } => Failure::new("AlreadyExists", format!("there is a token `{name}` already")),
        refused => refused.into(),
    })?;
    let token = json!({ "name": name, "role": role, "token": secret.reveal() });
    let unkept = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, unkept, Json(token)).into_response())
}

async fn revoke(call: Call) -> Answer {
    let name: String = call.name("name")?;
    let revoked = call.server.control.revoke_token(call.author.clone(), &name).await;
    revoked.map_err(|refused| match refused {
        Refused::Precondition { .. } => Failure::not_found(&format!("token `{name}`")),
        refused => refused.into(),
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
