//! One request as an operation sees it: names, parameters, body and conditions, each checked as it is read.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use config::model::Config;
use config::release::rollout::RolloutId;
use config::text::diff::{Change, diff, layer_diff};
use config::text::edit::Edit;
use config::text::parse::{self, Parsed};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Server;
use super::auth::{Client, NOBODY, reason};
use super::error::Failure;
use super::operation::{Answer, Operation};
use crate::control::authority::Forbidden;
use crate::control::{AllowEmpty, Author, Done, Expected, Guard, Refused, Revision, Wish, effective_revision};
use crate::live::Snapshot;

/// The revision at which an answer holds.
pub(super) const REVISION: HeaderName = HeaderName::from_static("x-weir-revision");
/// On an answer to a change that is live and not stored yet.
const UNSAVED: HeaderName = HeaderName::from_static("x-weir-unsaved");

/// One request.
pub(super) struct Call {
    pub(super) server: Arc<Server>,
    /// Who asks, and why.
    pub(super) author: Author,
    pub(super) client: Client,
    pub(super) headers: HeaderMap,
    /// Empty without one.
    pub(super) body: String,
    names: Vec<(String, String)>,
    query: Vec<(String, String)>,
    /// What the answer stands on, where the caller makes no condition.
    assumed: Option<Expected>,
}

/// A configuration, and at which revision each part of it stands.
pub(super) struct Shown {
    pub(super) config: Config,
    /// Before the change that is shown; the same where there was none.
    pub(super) before: Config,
    pub(super) revision: Revision,
    /// Rollouts that the change ended beside what it is about.
    ended: Vec<RolloutId>,
    unsaved: bool,
    snapshot: Arc<Snapshot>,
}

impl Call {
    /// Checks what needs no knowledge of the operation's meaning.
    ///
    /// # Errors
    /// 400 for parameters that the operation does not know, or conditions that it does not take.
    pub(super) fn new(
        server: Arc<Server>,
        operation: &Operation,
        (author, client): (Author, Client),
        (uri, headers): (&Uri, HeaderMap),
        names: Vec<(String, String)>,
        body: String,
    ) -> Result<Self, Failure> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let query = query.map_err(|error| Failure::invalid(error.body_text()))?.0;
        for (index, (name, _)) in query.iter().enumerate() {
            if !operation.query.contains(&&**name) {
                let known = match &*operation.query {
                    [] => "it takes none".to_owned(),
                    known => format!("it takes {}", known.join(", ")),
                };
                return Err(Failure::invalid(format!("this path does not know the parameter `{name}`; {known}")));
            }
            if query[..index].iter().any(|(other, _)| other == name) {
                return Err(Failure::invalid(format!("the parameter `{name}` is given twice")));
            }
        }
        let conditional = headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH);
        if conditional && !operation.guarded && operation.changes() {
            return Err(Failure::invalid("`If-Match` and `If-None-Match` mean nothing here"));
        }
        Ok(Self { server, author, client, headers, body, names, query, assumed: None })
    }

    /// A name from the path.
    ///
    /// # Errors
    /// 400 when it is not one.
    pub(super) fn name<T: FromStr<Err: Display>>(&self, parameter: &str) -> Result<T, Failure> {
        let text = self.names.iter().find(|(name, _)| name == parameter).map(|(_, text)| text.as_str());
        let text = text.expect("the path of the operation has this parameter");
        text.parse().map_err(|error| Failure::invalid(format!("`{text}` in the path: {error}")))
    }

    /// A query parameter.
    ///
    /// # Errors
    /// 400 when it cannot be read.
    pub(super) fn parameter<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some((_, text)) = self.query.iter().find(|(known, _)| known == name) else { return Ok(None) };
        let value = text.parse().map_err(|error| Failure::invalid(format!("the parameter `{name}={text}`: {error}")));
        value.map(Some)
    }

    /// How many items a list may have.
    ///
    /// # Errors
    /// 400 outside 1 to 1000.
    pub(super) fn limit(&self) -> Result<usize, Failure> {
        match self.parameter("limit")?.unwrap_or(100) {
            limit @ 1..=1000 => Ok(limit),
            limit => Err(Failure::invalid(format!("the parameter `limit={limit}`: 1 to 1000 items fit in a page"))),
        }
    }

    /// Whether nothing is to change.
    ///
    /// # Errors
    /// 400 when it is neither `true` nor `false`.
    pub(super) fn dry_run(&self) -> Result<bool, Failure> {
        Ok(self.parameter("dry_run")?.unwrap_or(false))
    }

    /// The permission for a file to leave no function.
    ///
    /// # Errors
    /// 400 when it is neither `true` nor `false`.
    pub(super) fn allow_empty(&self) -> Result<AllowEmpty, Failure> {
        Ok(AllowEmpty(self.parameter("allow_empty")?.unwrap_or(false)))
    }

    /// The body as a small form.
    ///
    /// # Errors
    /// 400 when it is not of that form.
    pub(super) fn form<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let value = if self.body.trim().is_empty() {
            json!({})
        } else {
            parse::parse_value(&self.body).map_err(Failure::problems)?
        };
        // A list would be read field by field, in an order that nobody was told.
        if !value.is_object() {
            return Err(Failure::invalid("the body: write a mapping of names to values"));
        }
        serde_json::from_value(value).map_err(|error| Failure::invalid(format!("the body: {error}")))
    }

    /// Refuses what a read without a token may not ask for.
    ///
    /// # Errors
    /// 401 where nobody said who asks.
    pub(super) fn needs_token(&self, what: &str) -> Result<(), Failure> {
        if self.author.who != NOBODY {
            return Ok(());
        }
        Err(Failure::new("Unauthorized", format!("{what} needs a token of role viewer: `Authorization: Bearer TOKEN`")))
    }

    /// The body by a parser of the file's.
    ///
    /// # Errors
    /// 422 with every problem.
    pub(super) fn read<T>(&self, parse: impl FnOnce(&str, parse::Env<'_>) -> Parsed<T>) -> Result<T, Failure> {
        self.with_environment(|env| parse(&self.body, env).map_err(Failure::problems)).map(|(value, _)| value)
    }

    /// Reads with the names of the environment that the caller may use.
    ///
    /// # Errors
    /// 403 for another name, whether it is set or not; else what `read` says.
    pub(super) fn with_environment<T>(
        &self,
        read: impl FnOnce(parse::Env<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (live, forbidden) = (self.live().config, RefCell::new(None));
        let env = |name: &str| {
            if self.author.may_run || self.server.authority.may_read(name, &live) {
                return (self.server.environment)(name);
            }
            forbidden.borrow_mut().get_or_insert_with(|| name.to_owned());
            None
        };
        let outcome = read(&env);
        match forbidden.into_inner() {
            Some(name) => Err(Refused::from(Forbidden::Variable { name, place: "the body".to_owned() }).into()),
            None => outcome,
        }
    }

    /// The reason is what the body says, if it says one.
    ///
    /// # Errors
    /// 400 when the journal does not take it.
    pub(super) fn because(&mut self, said: Option<String>) -> Result<(), Failure> {
        if let Some(why) = said.map(|text| reason("reason", &text)).transpose()?.flatten() {
            self.author.why = Some(why);
        }
        Ok(())
    }

    /// What the caller believes of the thing with this text name.
    ///
    /// # Errors
    /// 400 for conditions in another form than `"N"` and `*`.
    pub(super) fn guard(&self, name: &str) -> Result<Option<Guard>, Failure> {
        let get = |name| self.headers.get(name).map(HeaderValue::to_str);
        let expected = match (get(header::IF_MATCH), get(header::IF_NONE_MATCH)) {
            (None, None) => match self.assumed {
                Some(assumed) => assumed,
                None => return Ok(None),
            },
            (Some(Ok("*")), None) => Expected::Present,
            (None, Some(Ok("*"))) => Expected::Absent,
            (Some(Ok(tag)), None) => {
                let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|n| n.parse().ok());
                Expected::Revision(revision.ok_or_else(|| {
                    Failure::invalid(format!("`If-Match: {tag}` is not a revision in quotes, such as `\"41\"`"))
                })?)
            }
            _ => return Err(Failure::invalid("write `If-Match: \"REVISION\"` or `If-None-Match: *`, and one of them")),
        };
        Ok(Some(Guard { name: name.to_owned(), expected }))
    }

    /// The change is computed from what is live at this revision: it holds only if that is so still.
    pub(super) fn assume(&mut self, revision: Revision) {
        self.assumed = Some(Expected::Revision(revision));
    }

    /// What is live.
    pub(super) fn live(&self) -> Shown {
        let snapshot = self.server.live.load_full();
        let config = snapshot.table.config().clone();
        Shown {
            before: config.clone(),
            config,
            revision: snapshot.revision,
            ended: Vec::new(),
            unsaved: false,
            snapshot,
        }
    }

    /// Carries out edits of the thing with this text name, or tells what they would do.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn edit(
        &self,
        name: &str,
        edits: Vec<Edit>,
        show: impl FnOnce(&Shown) -> Answer + Send,
    ) -> Answer {
        self.edit_if(self.guard(name)?, edits, show).await
    }

    /// The same under a condition that the body makes.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn edit_if(
        &self,
        guard: Option<Guard>,
        edits: Vec<Edit>,
        show: impl FnOnce(&Shown) -> Answer + Send,
    ) -> Answer {
        let wish = Wish { author: self.author.clone(), edits, guard };
        if self.dry_run()? {
            return Ok(tried_out(&self.server.control.try_out(wish).await?));
        }
        let done = self.server.control.edit(wish).await?;
        self.done(done, show)
    }

    /// The answer to a change that was made.
    ///
    /// # Errors
    /// What `show` says.
    pub(super) fn done(&self, done: Done, show: impl FnOnce(&Shown) -> Answer) -> Answer {
        let Done { revision, before, after, ended, unsaved } = done;
        let shown = Shown { config: after, before, revision, ended, unsaved, snapshot: self.server.live.load_full() };
        let mut response = show(&shown)?;
        response.headers_mut().insert(REVISION, HeaderValue::from(revision));
        if shown.unsaved {
            response.headers_mut().insert(UNSAVED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }
}

impl Shown {
    /// The revision of the thing with this text name. Of a thing that changed since it is the one of this change, so that
    /// a condition on it fails rather than hides that.
    pub(super) fn revision_of(&self, name: &str) -> Revision {
        let known = self.snapshot.revisions.get(name).copied();
        known.filter(|revision| *revision <= self.revision).unwrap_or(self.revision)
    }

    /// The revision of what requests see of the alias with this text name, by the same rule.
    pub(super) fn effective_revision_of(&self, name: &str) -> Revision {
        let known = effective_revision(&self.snapshot.revisions, name);
        known.filter(|revision| *revision <= self.revision).unwrap_or(self.revision)
    }

    /// The answer to a deletion: nothing but the rollouts that it ended, if there are any.
    pub(super) fn gone(&self) -> Response {
        if self.ended.is_empty() {
            return StatusCode::NO_CONTENT.into_response();
        }
        let mut answer = json!({});
        self.tell_ended(&mut answer);
        Json(answer).into_response()
    }

    /// 404 for a thing that is not there, or whose text of this name cannot be read.
    pub(super) fn lacks(&self, text: &str, what: &str) -> Failure {
        match self.config.unreadable.get(text) {
            Some(unreadable) => {
                let message = format!("the stored text of {what} cannot be read: {}", unreadable.told);
                Failure::new("NotFound", message)
            }
            None => Failure::not_found(what),
        }
    }

    /// `{"name": …, "revision": …, …fields}`.
    pub(super) fn resource(&self, text: &str, name: &str, fields: Value) -> Value {
        let mut resource = json!({ "name": name, "revision": self.revision_of(text) });
        if let (Value::Object(resource), Value::Object(fields)) = (&mut resource, fields) {
            resource.extend(fields);
        }
        self.tell_ended(&mut resource);
        resource
    }

    /// Adds the rollouts that the change ended, if there are any.
    pub(super) fn tell_ended(&self, answer: &mut Value) {
        tell_ended(answer, &self.ended);
    }
}

/// A resource with its `ETag`.
pub(super) fn resource(status: StatusCode, resource: Value) -> Response {
    let tag = format!("\"{}\"", resource["revision"]);
    (status, [(header::ETAG, tag)], Json(resource)).into_response()
}

/// 201 for what was not there before.
pub(super) fn put_status(existed: bool) -> StatusCode {
    if existed { StatusCode::OK } else { StatusCode::CREATED }
}

/// Where a list that is ordered by name goes on.
///
/// # Errors
/// 400 when the parameter is not a name.
pub(super) fn after<K: FromStr<Err: Display>>(call: &Call) -> Result<(Bound<K>, Bound<K>), Failure> {
    let after = call.parameter("after")?.map_or(Bound::Unbounded, Bound::Excluded);
    Ok((after, Bound::Unbounded))
}

/// A page of a list that was read one item further than `limit`.
pub(super) fn page<K: Display>(mut items: Vec<(K, Value)>, limit: usize) -> Response {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|(name, _)| name.to_string());
    let items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    Json(json!({ "items": items, "next": next })).into_response()
}

/// What a dry run answers.
pub(super) fn tried_out(done: &Done) -> Response {
    let revision = [(REVISION, HeaderValue::from(done.revision))];
    let mut answer = json!({ "changes": changes(&done.before, &done.after) });
    tell_ended(&mut answer, &done.ended);
    (revision, Json(answer)).into_response()
}

/// Adds these rollouts to an answer, if there are any.
pub(super) fn tell_ended(answer: &mut Value, ended: &[RolloutId]) {
    if !ended.is_empty() {
        answer["ended_rollouts"] = ended.iter().map(|id| Value::String(id.to_string())).collect();
    }
}

/// `[{path, before, after}]`, with the splits that requests see otherwise because of a rollout.
pub(super) fn changes(before: &Config, after: &Config) -> Vec<Value> {
    let layers = layer_diff(before, after);
    diff(before, after).into_iter().chain(layers).map(change).collect()
}

/// `{path, before, after}`
pub(super) fn change(change: Change) -> Value {
    json!({ "path": change.path, "before": change.before, "after": change.after })
}
