//! Functions.

use std::sync::Arc;

use axum::http::StatusCode;
use config::model::{Config, Function};
use config::text::edit::{Edit, FunctionEdit};
use config::text::format::json;
use config::text::parse;
use config::value::name::FunctionName;
use serde::Deserialize;
use serde_json::{Map, Value, json as object};

use super::call::{Call, Shown, after, page, put_status, resource};
use super::error::Failure;
use super::operation::{Answer, Content, Operation, Verb, run};

const ALL: &str = "/v1/functions";
const ONE: &str = "/v1/functions/{function}";

/// Of functions.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(ALL, "listFunctions", "Lists functions.", run!(list)).pages("functionSummary"),
        Operation::change(Verb::Post, ALL, "createFunction", "Creates a function that is not there yet.", run!(create))
            .unguarded()
            .takes("newFunction")
            .statuses(&[201])
            .answers(Content::Form("functionResource")),
        Operation::get(ONE, "getFunction", "A function with its draft, versions and aliases.", run!(get))
            .answers(Content::Form("functionResource")),
        Operation::change(
            Verb::Put,
            ONE,
            "putFunction",
            "Creates a function, or sets its dialects and how events reach it.",
            run!(put),
        )
        .may_take("functionForm")
        .statuses(&[200, 201])
        .answers(Content::Form("functionResource")),
        Operation::change(
            Verb::Delete,
            ONE,
            "deleteFunction",
            "Deletes a function that no route, trigger or stage names. Its version numbers are not given out again.",
            run!(delete),
        )
        .may_end_rollouts(),
    ]
}

/// Name of the text of a function.
pub(super) fn text(function: &FunctionName) -> String {
    format!("function/{function}")
}

/// The function that a path names.
///
/// # Errors
/// 404.
pub(super) fn find<'c>(config: &'c Config, name: &FunctionName) -> Result<&'c Arc<Function>, Failure> {
    config.functions.get(name).ok_or_else(|| Failure::not_found(&format!("function `{name}`")))
}

async fn list(call: Call) -> Answer {
    let (limit, shown) = (call.limit()?, call.live());
    let items = shown.config.functions.range(after::<FunctionName>(&call)?).take(limit + 1);
    let items = items.map(|(name, function)| {
        let fields = object!({
            "latest": function.versions.keys().max(),
            "versions": function.versions.len(),
            "aliases": function.aliases.keys().map(|alias| alias.as_str()).collect::<Vec<_>>(),
        });
        (name, shown.resource(&text(name), name.as_str(), fields))
    });
    Ok(page(items.collect(), limit))
}

async fn get(call: Call) -> Answer {
    let name = call.name("function")?;
    show(&call.live(), &name)
}

/// A function to create.
#[derive(Debug, Deserialize)]
struct New {
    name: String,
    /// Read by the parser of the file, which knows what belongs here.
    #[serde(flatten)]
    settings: Map<String, Value>,
}

async fn create(call: Call) -> Answer {
    let New { name, settings } = call.form()?;
    let name: FunctionName = name.parse().map_err(|error| Failure::invalid(format!("`name`: {error}")))?;
    let mut edits = vec![Edit::NewFunction(name.clone())];
    if !settings.is_empty() {
        let text = Value::Object(settings).to_string();
        let read = parse::parse_function_settings(&format!("functions.{name}"), &text, &*call.server.environment);
        let (settings, _) = read.map_err(Failure::problems)?;
        edits.push(Edit::Function(name.clone(), FunctionEdit::Settings(settings)));
    }
    call.edit(&text(&name), edits, |shown| {
        let mut response = show(shown, &name)?;
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    })
    .await
}

async fn put(call: Call) -> Answer {
    let name: FunctionName = call.name("function")?;
    let mut edits = vec![Edit::CreateFunction(name.clone())];
    if !call.body.trim().is_empty() {
        let path = format!("functions.{name}");
        let settings = call.read(|text, env| parse::parse_function_settings(&path, text, env))?;
        edits.push(Edit::Function(name.clone(), FunctionEdit::Settings(settings)));
    }
    call.edit(&text(&name), edits, |shown| {
        let mut response = show(shown, &name)?;
        *response.status_mut() = put_status(shown.before.functions.contains_key(&name));
        Ok(response)
    })
    .await
}

async fn delete(call: Call) -> Answer {
    let name: FunctionName = call.name("function")?;
    call.edit(&text(&name), vec![Edit::DeleteFunction(name.clone())], |shown| Ok(shown.gone())).await
}

fn show(shown: &Shown, name: &FunctionName) -> Answer {
    let function = find(&shown.config, name)?;
    Ok(resource(StatusCode::OK, shown.resource(&text(name), name.as_str(), json::function(function))))
}
