//! Aliases, and their way back.

use axum::http::StatusCode;
use config::model::{Alias, Config};
use config::text::edit::{Edit, FunctionEdit};
use config::text::format::json as form;
use config::text::parse;
use config::value::name::{AliasName, FunctionName};
use serde::Deserialize;
use serde_json::Value;

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
        Operation::change(Verb::Delete, ONE, "deleteAlias", "Deletes an alias.", run!(delete)).may_end_rollouts(),
        Operation::change(
            Verb::Post,
            "/v1/functions/{function}/aliases/{alias}/rollback",
            "rollBackAlias",
            "Puts an alias back to what it was at a revision. Without one, ends its running rollout; if there is none, the split before its \
             last episode comes back. After a rollout that went back by itself there is nothing to do.",
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
    let model = find(&shown.config, &function)?;
    let names = model.aliases.range(after::<AliasName>(&call)?).map(|(name, _)| name).take(limit + 1);
    let items = names.map(|name| Ok((name, fields(&shown, &function, name)?))).collect::<Result<_, Failure>>()?;
    Ok(page(items, limit))
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
    call.edit(&text(&function, &name), edits, |shown| Ok(shown.gone())).await
}

async fn roll_back(call: Call) -> Answer {
    let (function, alias) = names(&call)?;
    let Back { to } = call.form()?;
    let what = RollBack::Alias { function: function.clone(), alias: alias.clone(), to };
    let (dry_run, guard) = (call.dry_run()?, call.guard(&text(&function, &alias))?);
    let done = call.server.control.roll_back(call.author.clone(), what, guard, dry_run).await?;
    if dry_run {
        return Ok(tried_out(&done));
    }
    let seen = |config: &Config| config.functions.get(&function).and_then(|function| function.effective(&alias));
    let changed = seen(&done.before) != seen(&done.after);
    call.done(done, |shown| {
        let mut fields = fields(shown, &function, &alias)?;
        fields["changed"] = changed.into();
        Ok(resource(StatusCode::OK, fields))
    })
}

fn names(call: &Call) -> Result<(FunctionName, AliasName), Failure> {
    Ok((call.name("function")?, call.name("alias")?))
}

fn path(function: &FunctionName, alias: &AliasName) -> String {
    format!("functions.{function}.aliases.{alias}")
}

fn show(shown: &Shown, function: &FunctionName, name: &AliasName) -> Answer {
    Ok(resource(StatusCode::OK, fields(shown, function, name)?))
}

/// The alias as its operator set it, the layer of the rollout that runs on it, and the split that requests see.
fn fields(shown: &Shown, function: &FunctionName, name: &AliasName) -> Result<Value, Failure> {
    let model = find(&shown.config, function)?;
    let implied =
        || (*name == AliasName::default_alias() && !model.is_unread_alias(name)).then(Alias::untouched_default);
    let alias = model.aliases.get(name).cloned().or_else(implied);
    let what = format!("alias `{name}` of function `{function}`");
    let alias = alias.ok_or_else(|| shown.lacks(&text(function, name), &what))?;
    let mut fields = form::alias(&alias);
    let layer = model.layers.get(name);
    fields["effective"] = layer.map_or_else(|| fields["split"].clone(), |layer| form::split(&layer.split()));
    fields["layer"] = layer.map_or(Value::Null, |layer| form::layer(layer));
    let own = text(function, name);
    fields["effective_revision"] = shown.effective_revision_of(&own).into();
    Ok(shown.resource(&own, name.as_str(), fields))
}
