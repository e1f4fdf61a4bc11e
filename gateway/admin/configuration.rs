//! The configuration as a whole: settings, and the live state as a file.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use config::text::diff::diff;
use config::text::edit::Edit;
use config::text::{format, parse};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Call, Shown, change, changes, resource, tried_out};
use super::error::{Failure, problem};
use super::operation::{Answer, Content, Operation, Verb, run};
use crate::control::{Revision, RollBack};

const SETTINGS: &str = "/v1/settings";
const CONFIG: &str = "/v1/config";

/// Of the configuration as a whole.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(SETTINGS, "getSettings", "Triggers, base domain, override and trusted proxies.", run!(settings))
            .answers(Content::Form("settingsResource")),
        Operation::change(Verb::Put, SETTINGS, "putSettings", "Replaces the settings.", run!(put_settings))
            .takes("settings")
            .answers(Content::Form("settingsResource")),
        Operation::get(CONFIG, "getConfig", "The live configuration as a file; variables stay `${NAME}`.", run!(live))
            .takes_long()
            .answers(Content::File("config")),
        Operation::change(
            Verb::Post,
            CONFIG,
            "applyConfig",
            "Applies what a file says differently from the file that was applied before, field by field.",
            run!(apply),
        )
        .unguarded()
        .takes_long()
        .query(&["allow_empty"])
        .takes_all(Content::File("config"))
        .answers(Content::Form("applied")),
        Operation::change(
            Verb::Post,
            "/v1/config/rollback",
            "rollBackConfig",
            "Puts the whole configuration back to what it was at a revision.",
            run!(roll_back),
        )
        .unguarded()
        .takes("goingBack")
        .answers(Content::Form("applied")),
        Operation::get(
            "/v1/drift",
            "getDrift",
            "Where the applied file and the live state differ, and which rollouts run on top of it.",
            run!(drift),
        )
        .takes_long()
        .answers(Content::Form("drift")),
    ]
}

async fn settings(call: Call) -> Answer {
    show_settings(&call.live())
}

async fn put_settings(call: Call) -> Answer {
    let settings = call.read(parse::parse_settings)?;
    let edits = vec![
        Edit::Triggers(settings.triggers),
        Edit::BaseDomain(settings.base_domain),
        Edit::Overrides(settings.overrides),
        Edit::TrustedProxies(settings.trusted_proxies),
        Edit::DefaultCertificate(settings.default_certificate),
    ];
    call.edit("settings", edits, show_settings).await
}

fn show_settings(shown: &Shown) -> Answer {
    if shown.config.is_unread("settings") {
        return Err(shown.lacks("settings", "the settings"));
    }
    Ok(resource(StatusCode::OK, shown.resource("settings", "settings", format::json::settings(&shown.config))))
}

async fn live(call: Call) -> Answer {
    let shown = call.live();
    let mut answer = match preferred(&call.headers)? {
        Form::Yaml => ([(header::CONTENT_TYPE, "application/yaml")], format::format(&shown.config)).into_response(),
        Form::Json => Json(format::json::config(&shown.config)).into_response(),
    };
    // Whoever applies it as a file takes away what it lacks.
    if !shown.config.unreadable.is_empty() {
        answer.headers_mut().insert(LEFT_OUT, HeaderValue::from(shown.config.unreadable.len()));
    }
    Ok(answer)
}

/// The number of stored texts that cannot be read, so that what they name is no part of the answer.
const LEFT_OUT: HeaderName = HeaderName::from_static("x-weir-left-out");

enum Form {
    Yaml,
    Json,
}

/// The first form among those asked for, whatever their weights; YAML without a wish.
fn preferred(headers: &HeaderMap) -> Result<Form, Failure> {
    let mut asked = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if asked.peek().is_none() {
        return Ok(Form::Yaml);
    }
    let kinds = asked.flat_map(|value| value.split(',')).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let known = |kind: &str| match kind {
        "application/json" => Some(Form::Json),
        "*/*" | "application/*" | "application/yaml" | "application/x-yaml" | "text/yaml" | "text/*" => {
            Some(Form::Yaml)
        }
        _ => None,
    };
    let message = "the configuration is there as application/yaml and application/json";
    kinds.filter_map(known).next().ok_or_else(|| Failure::new("NotAcceptable", message))
}

async fn apply(call: Call) -> Answer {
    let (file, warnings) = call.with_environment(|env| parse::parse(&call.body, env).map_err(Failure::problems))?;
    let dry_run = call.dry_run()?;
    let done = call.server.control.apply_file(call.author.clone(), file, call.allow_empty()?, dry_run).await?;
    if dry_run {
        return Ok(tried_out(&done));
    }
    let warnings: Vec<Value> = warnings.iter().map(problem).collect();
    call.done(done, |shown| {
        let mut applied = applied(shown);
        applied["warnings"] = warnings.into();
        Ok(Json(applied).into_response())
    })
}

/// Where to go back to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    to: Revision,
}

async fn roll_back(call: Call) -> Answer {
    let Back { to } = call.form()?;
    let dry_run = call.dry_run()?;
    let done = call.server.control.roll_back(call.author.clone(), RollBack::Config { to }, None, dry_run).await?;
    if dry_run { Ok(tried_out(&done)) } else { call.done(done, |shown| Ok(Json(applied(shown)).into_response())) }
}

fn applied(shown: &Shown) -> Value {
    let mut applied = json!({ "revision": shown.revision, "changes": changes(&shown.before, &shown.config) });
    shown.tell_ended(&mut applied);
    applied
}

async fn drift(call: Call) -> Answer {
    let (file, live) = call.server.control.drift().await?;
    let rollouts = call.server.control.rollouts().borrow().clone();
    let members = rollouts.running().flat_map(|rollout| rollout.members.iter());
    let layers = members.filter_map(|member| {
        let layer = live.functions.get(&member.function)?.layers.get(&member.alias)?;
        Some((format!("{}:{}", member.function, member.alias), format::json::layer(layer)))
    });
    let changes: Vec<Value> = diff(&file, &live).into_iter().map(change).collect();
    Ok(Json(json!({ "changes": changes, "layers": layers.collect::<Map<_, _>>() })).into_response())
}
