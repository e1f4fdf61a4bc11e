//! Aliases, and their way back.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use config::model::Alias;
use config::text::edit::{Edit, FunctionEdit};
use config::text::format::json;
use config::text::parse;
use config::value::name::{AliasName, FunctionName, VersionId};
use config::value::weight::Split;
use serde::Deserialize;

use super::call::{Call, Shown, after, page, put_status, resource, tried_out};
use super::error::Failure;
use super::functions::find;
use super::operation::{Answer, Content, Operation, Verb, run};
use crate::control::{Revision, RollBack};

const ALL: &str = "/v1/functions/{function}/aliases";
const ONE: &str = "/v1/functions/{function}/aliases/{alias}";

/// Of aliases.
pub(super) fn operations() -> Vec<Operation> {
    let answer = Content::Form("aliasResource");
    vec![
        Operation::get(ALL, "listAliases", "Lists the aliases of a function.", run!(list)).pages("aliasResource"),
        Operation::get(ONE, "getAlias", "An alias; its split in percent.", run!(get)).answers(answer),
        Operation::change(Verb::Put, ONE, "putAlias", "Creates or replaces an alias.", run!(put))
            .takes("alias")
            .statuses(&[200, 201])
            .answers(answer),
        Operation::change(
            Verb::Patch,
            ONE,
            "patchAlias",
            "Changes some fields of an alias: what is absent stays, null gives the default.",
            run!(patch),
        )
        .takes("aliasPatch")
        .answers(answer),
        Operation::change(Verb::Delete, ONE, "deleteAlias", "Deletes an alias.", run!(delete)),
        Operation::change(
            Verb::Post,
            "/v1/functions/{function}/aliases/{alias}/rollback",
            "rollBackAlias",
            "Puts an alias back to what it was at a revision. Without one, ends its running rollout, or undoes what the last rollout or the \
             last change by hand did to its split.",
            run!(roll_back),
        )
        .may_take("goingBack")
        .answers(answer),
    ]
}

/// Where to go back to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    to: Option<Revision>,
}

fn text(function: &FunctionName, alias: &AliasName) -> String {
    format!("alias/{function}/{alias}")
}

async fn list(call: Call) -> Answer {
    let function: FunctionName = call.name("function")?;
    let (limit, shown) = (call.limit()?, call.live());
    let aliases = find(&shown.config, &function)?.aliases.range(after::<AliasName>(&call)?).take(limit + 1);
    let items =
        aliases.map(|(name, alias)| (name, shown.resource(&text(&function, name), name.as_str(), json::alias(alias))));
    Ok(page(items.collect(), limit))
}

async fn get(call: Call) -> Answer {
    let (function, alias) = names(&call)?;
    show(&call.live(), &function, &alias)
}

async fn put(call: Call) -> Answer {
    let (function, name) = names(&call)?;
    find(&call.live().config, &function)?;
    let alias = call.read(|text, env| parse::parse_alias(&path(&function, &name), text, env))?;
    let edits = vec![Edit::Function(function.clone(), FunctionEdit::Alias(name.clone(), Some(alias.into())))];
    call.edit(&text(&function, &name), edits, |shown| {
        let mut response = show(shown, &function, &name)?;
        *response.status_mut() = put_status(find(&shown.before, &function)?.aliases.contains_key(&name));
        Ok(response)
    })
    .await
}

async fn patch(call: Call) -> Answer {
    let (function, name) = names(&call)?;
    let patch = call.read(|text, env| parse::parse_alias_patch(&path(&function, &name), text, env))?;
    let edits = vec![Edit::Function(function.clone(), FunctionEdit::PatchAlias(name.clone(), patch))];
    call.edit(&text(&function, &name), edits, |shown| show(shown, &function, &name)).await
}

async fn delete(call: Call) -> Answer {
    let (function, name) = names(&call)?;
    let edits = vec![Edit::Function(function.clone(), FunctionEdit::Alias(name.clone(), None))];
    call.edit(&text(&function, &name), edits, |_| Ok(StatusCode::NO_CONTENT.into_response())).await
}

async fn roll_back(call: Call) -> Answer {
    let (function, alias) = names(&call)?;
    let Back { to } = call.form()?;
    let what = RollBack::Alias { function: function.clone(), alias: alias.clone(), to };
    let (dry_run, guard) = (call.dry_run()?, call.guard(&text(&function, &alias))?);
    let done = call.server.control.roll_back(call.author.clone(), what, guard, dry_run).await?;
    if dry_run { Ok(tried_out(&done)) } else { call.done(done, |shown| show(shown, &function, &alias)) }
}

fn names(call: &Call) -> Result<(FunctionName, AliasName), Failure> {
    Ok((call.name("function")?, call.name("alias")?))
}

fn path(function: &FunctionName, alias: &AliasName) -> String {
    format!("functions.{function}.aliases.{alias}")
}

fn show(shown: &Shown, function: &FunctionName, name: &AliasName) -> Answer {
    let implied = (*name == AliasName::default_alias()).then(|| Arc::new(built_in()));
    let alias = find(&shown.config, function)?.aliases.get(name).or(implied.as_ref());
    let alias = alias.ok_or_else(|| Failure::not_found(&format!("alias `{name}` of function `{function}`")))?;
    Ok(resource(StatusCode::OK, shown.resource(&text(function, name), name.as_str(), json::alias(alias))))
}

/// What `$DEFAULT` is until it is changed.
pub(super) fn built_in() -> Alias {
    Alias::new(Split::whole(VersionId::Latest))
}
