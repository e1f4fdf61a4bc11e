//! Everything that the store holds as one text, sent in pieces.

use std::error::Error;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::IntoResponse;
use http_body_util::channel::Channel;

use super::auth::Access;
use super::call::Call;
use super::operation::{Answer, Content, Operation, run};
use crate::control::Refused;
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
    let mut pieces = call.server.control.export();
    // An error at the beginning is answered as one; later it ends the answer early, which lacks its checksum then.
    let first = pieces.recv().await.transpose().map_err(Refused::from)?;
    let (mut sender, body) = Channel::<Bytes, Box<dyn Error + Send + Sync>>::new(1);
    tokio::spawn(async move {
        let mut next = first.map(Ok);
        while let Some(piece) = next {
            let sent = match piece {
                Ok(text) => sender.send_data(text.into()).await,
                Err(error) => return sender.abort(Box::new(error)),
            };
            if sent.is_err() {
                return;
            }
            next = pieces.recv().await;
        }
    });
    Ok(([(header::CONTENT_TYPE, LINES)], Body::new(body)).into_response())
}
