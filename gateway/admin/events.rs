//! Changes as they go live, as server-sent events (WHATWG HTML, section 9.2). The id of an event is its revision, so that
//! a client which was cut off goes on where it was.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use config::text::veil::veil;
use http_body_util::channel::{Channel, Sender};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::call::Call;
use super::error::Failure;
use super::operation::{Answer, Content, Operation, run};
use crate::control::journal::Query;
use crate::control::{Control, Refused, Revision};

pub(super) const EVENTS: &str = "text/event-stream";
/// Nothing happened for so long: a comment tells both sides that the other is still there.
const SILENCE: Duration = Duration::from_secs(15);
/// Entries that are read at a time: few, because every other answer waits while they are rendered.
const CHUNK: usize = 20;
/// Events that wait for a client that is slow.
const WAITING: usize = 16;

/// Of events.
pub(super) fn operations() -> Vec<Operation> {
    let summary = "Changes as they go live; goes on after `Last-Event-ID` or `after`. \
                   `gap` says that entries before its id are no longer there.";
    vec![
        Operation::get("/v1/events", "followEvents", summary, run!(follow))
            .query(&["after"])
            .answers(Content::Text(EVENTS)),
    ]
}

async fn follow(call: Call) -> Answer {
    let after = match call.headers.get("last-event-id").map(HeaderValue::to_str) {
        Some(id) => {
            let id = id.ok().and_then(|id| id.parse::<Revision>().ok());
            Some(id.ok_or_else(|| Failure::invalid("`Last-Event-ID` is not a revision"))?)
        }
        None => call.parameter("after")?,
    };
    let place = call.server.work.follow()?;
    let (sender, body) = Channel::<Bytes, Infallible>::new(WAITING);
    let progress = call.server.live.progress();
    let newest = end(&call.server.control, true).await?.unwrap_or(0);
    let is_veiled = call.client.is_veiled;
    let stream =
        Stream { control: call.server.control.clone(), progress, sender, last: after.unwrap_or(newest), is_veiled };
    tokio::spawn(async move {
        stream.run(newest).await;
        drop(place);
    });
    let headers = [(header::CONTENT_TYPE, EVENTS), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(body)).into_response())
}

/// The newest or the oldest revision in the journal.
async fn end(control: &Control, newest_first: bool) -> Result<Option<Revision>, Refused> {
    let query = Query { newest_first, limit: 1, ..everything_after(0) };
    Ok(control.journal(query).await?.entries.first().map(|entry| entry.revision))
}

fn everything_after(after: Revision) -> Query {
    Query { after, before: Revision::MAX, newest_first: false, limit: CHUNK, name: None, who: None, since: None }
}

/// One client that listens.
struct Stream {
    control: Control,
    progress: watch::Receiver<Revision>,
    sender: Sender<Bytes, Infallible>,
    /// The last revision that the client knows.
    last: Revision,
    /// True if literal secrets are hidden from the client.
    is_veiled: bool,
}

/// Why a stream ends.
enum Over {
    /// The client went away, or the gateway stops.
    Gone,
    /// The journal cannot be read.
    Refused(Refused),
}

impl From<Refused> for Over {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Stream {
    async fn run(mut self, newest: Revision) {
        if let Err(Over::Refused(refused)) = self.tell(newest).await {
            tracing::warn!("events end because the journal cannot be read: {refused}");
        }
    }

    async fn tell(&mut self, newest: Revision) -> Result<(), Over> {
        self.tell_gap(newest).await?;
        loop {
            self.progress.mark_unchanged();
            while self.tell_entries().await? == CHUNK {}
            self.await_change().await?;
        }
    }

    /// Says where the journal begins for a client that knows less, or more than there is: then the store is another one.
    async fn tell_gap(&mut self, newest: Revision) -> Result<(), Over> {
        let before = end(&self.control, false).await?.map_or(newest, |oldest| oldest - 1);
        if self.last < before || self.last > newest {
            self.last = if self.last > newest { newest } else { before };
            let (id, told) = (self.last, json!({ "from": self.last + 1 }));
            self.send(format!("id: {id}\nevent: gap\ndata: {told}\n\n")).await?;
        }
        Ok(())
    }

    /// Sends what is live and not known yet; how much that was.
    async fn tell_entries(&mut self) -> Result<usize, Over> {
        let entries = self.control.journal(everything_after(self.last)).await?.entries;
        for entry in &entries {
            // A JSON text without line breaks: one line of data.
            let mut entry_json = serde_json::to_value(entry).expect("texts and numbers are JSON");
            if self.is_veiled {
                veil(&mut entry_json);
            }
            let id = entry.revision;
            self.send(format!("id: {id}\nevent: change\ndata: {entry_json}\n\n")).await?;
            self.last = id;
        }
        Ok(entries.len())
    }

    async fn await_change(&mut self) -> Result<(), Over> {
        loop {
            match timeout(SILENCE, self.progress.changed()).await {
                Ok(changed) => return changed.map_err(|_| Over::Gone),
                Err(_) => self.send(":\n\n".into()).await?,
            }
        }
    }

    async fn send(&mut self, event: String) -> Result<(), Over> {
        self.sender.send_data(event.into()).await.map_err(|_| Over::Gone)
    }
}
