//! Versions: published, and never changed after that.

use std::num::NonZeroU32;

use axum::http::{HeaderValue, StatusCode, header};
use config::model::Version;
use config::text::edit::{Edit, FunctionEdit};
use config::text::format::json;
use config::text::parse;
use config::value::digest::Digest;
use config::value::name::FunctionName;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::call::{Call, Shown, after, page, resource};
use super::error::Failure;
use super::functions::find;
use super::operation::{Answer, Content, Operation, Verb, run};
use crate::control::{Expected, Guard, Revision};

const ALL: &str = "/v1/functions/{function}/versions";
const ONE: &str = "/v1/functions/{function}/versions/{version}";

/// Of versions.
pub(super) fn operations() -> Vec<Operation> {
    let answer = Content::Form("versionResource");
    vec![
        Operation::get(ALL, "listVersions", "Lists the versions of a function, by number.", run!(list))
            .pages("versionResource"),
        Operation::change(
            Verb::Post,
            ALL,
            "publishVersion",
            "Freezes the draft, or an older version, under the next number.",
            run!(publish),
        )
        .unguarded()
        .may_take("publication")
        .statuses(&[201])
        .answers(answer),
        Operation::get(ONE, "getVersion", "A version.", run!(get)).answers(answer),
        Operation::change(Verb::Patch, ONE, "patchVersion", "Changes what may change of a version.", run!(patch))
            .takes("versionPatch")
            .answers(answer),
        Operation::change(Verb::Delete, ONE, "deleteVersion", "Deletes a version that nothing names.", run!(delete)),
    ]
}

/// What is to be published, and as what.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publication {
    from: Option<NonZeroU32>,
    label: Option<String>,
    description: Option<String>,
    expected_digest: Option<String>,
    /// Of the draft.
    expected_revision: Option<Revision>,
}

/// Fields that may change. `Some(None)` is null.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    #[serde(default, deserialize_with = "given")]
    label: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    retired: Option<bool>,
    endpoints: Option<Value>,
}

fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn text(function: &FunctionName, number: NonZeroU32) -> String {
    format!("version/{function}/{number}")
}

async fn list(call: Call) -> Answer {
    let function: FunctionName = call.name("function")?;
    let (limit, shown) = (call.limit()?, call.live());
    let versions = find(&shown.config, &function)?.versions.range(after::<NonZeroU32>(&call)?).take(limit + 1);
    let items = versions.map(|(number, version)| (*number, shown_as(&shown, &function, *number, version)));
    Ok(page(items.collect(), limit))
}

async fn get(call: Call) -> Answer {
    let (function, number) = (call.name("function")?, call.name("version")?);
    show(&call.live(), &function, number)
}

async fn publish(call: Call) -> Answer {
    let function: FunctionName = call.name("function")?;
    find(&call.live().config, &function)?;
    let Publication { from, label, description, expected_digest, expected_revision } = call.form()?;
    let expected = expected_digest.map(|digest| {
        let digest = digest.parse::<Digest>();
        digest.map_err(|error| Failure::invalid(format!("the body: expected_digest: {error}")))
    });
    let edit = FunctionEdit::Publish { from, label, description, expected: expected.transpose()? };
    let guard = expected_revision
        .map(|revision| Guard { name: format!("draft/{function}"), expected: Expected::Revision(revision) });
    call.edit_if(guard, vec![Edit::Function(function.clone(), edit)], |shown| {
        let newest = find(&shown.config, &function)?.versions.keys().next_back().copied();
        let number = newest.expect("a version was published");
        let mut response = show(shown, &function, number)?;
        *response.status_mut() = StatusCode::CREATED;
        let place = HeaderValue::from_str(&format!("/v1/functions/{function}/versions/{number}"));
        response.headers_mut().insert(header::LOCATION, place.expect("names of functions are letters and digits"));
        Ok(response)
    })
    .await
}

async fn patch(call: Call) -> Answer {
    let (function, number): (FunctionName, NonZeroU32) = (call.name("function")?, call.name("version")?);
    version(&call.live(), &function, number)?;
    let Patch { label, description, retired, endpoints } = call.form()?;
    let endpoints = endpoints.map(|endpoints| {
        let path = format!("functions.{function}.versions.{number}.endpoints");
        let parsed = parse::parse_endpoints(&path, &endpoints.to_string(), &*call.server.environment);
        parsed.map(|(endpoints, _)| FunctionEdit::Endpoints(number, endpoints)).map_err(Failure::problems)
    });
    let edits = [
        label.map(|label| FunctionEdit::Label(number, label)),
        description.map(|description| FunctionEdit::Describe(number, description)),
        endpoints.transpose()?,
        retired.map(|retired| FunctionEdit::Retire(number, retired)),
    ];
    let edits = edits.into_iter().flatten().map(|edit| Edit::Function(function.clone(), edit)).collect();
    call.edit(&text(&function, number), edits, |shown| show(shown, &function, number)).await
}

async fn delete(call: Call) -> Answer {
    let (function, number): (FunctionName, NonZeroU32) = (call.name("function")?, call.name("version")?);
    let edits = vec![Edit::Function(function.clone(), FunctionEdit::Version(number, None))];
    call.edit(&text(&function, number), edits, |shown| Ok(shown.gone())).await
}

fn show(shown: &Shown, function: &FunctionName, number: NonZeroU32) -> Answer {
    let version = version(shown, function, number)?;
    Ok(resource(StatusCode::OK, shown_as(shown, function, number, version)))
}

fn version<'s>(shown: &'s Shown, function: &FunctionName, number: NonZeroU32) -> Result<&'s Version, Failure> {
    let version = find(&shown.config, function)?.versions.get(&number);
    version
        .map(|version| &**version)
        .ok_or_else(|| shown.lacks(&text(function, number), &format!("version {number} of function `{function}`")))
}

fn shown_as(shown: &Shown, function: &FunctionName, number: NonZeroU32, version: &Version) -> Value {
    shown.resource(&text(function, number), &number.to_string(), json::version(number, version))
}
