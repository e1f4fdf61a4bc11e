//! Stored texts that cannot be read, and names of what is not stored, told to whoever asks how things stand.

use std::collections::BTreeMap;

use config::model::Config;
use config::text::check;
use config::text::problem::{Code, Severity};

use super::Ground;
use crate::clock;
use crate::live::Unusable;
use crate::metrics::{FILE_TEXT, REFERENCE, TEXT};

/// Shows what of the configuration cannot be used that goes live.
pub(super) fn tell(ground: &Ground, config: &Config) {
    let texts = config.unreadable.iter();
    let texts = texts.map(|(name, text)| (name.to_string(), (&*text.told, &*text.reason, meaning(name))));
    show(ground, TEXT, texts.collect());
    // Edits are refused that would name what is not there, so it is looked for at the start, and as long as there is any.
    if ground.live.load().revision > 0 && ground.live.unusable().get(REFERENCE).is_none_or(|things| things.is_empty()) {
        return;
    }
    let mut problems = check::check(config);
    // Who names what cannot be read is not told beside it.
    problems.retain(|problem| problem.severity == Severity::Error && problem.code != Some(Code::Unreadable));
    let meaning = "what depends on it is answered 503";
    let references = problems.iter().map(|found| (found.path.clone(), (&*found.message, &*found.message, meaning)));
    show(ground, REFERENCE, references.collect());
}

/// Shows what cannot be read of the file as it was applied last.
pub(super) fn tell_of_file(ground: &Ground, file: &Config) {
    let meaning = "what is live is not compared with it, and the file is taken to have said what it says now";
    let texts = file.unreadable.iter();
    let texts = texts.map(|(name, text)| (name.to_string(), (&*text.told, &*text.reason, meaning)));
    show(ground, FILE_TEXT, texts.collect());
}

/// Shows these things, by their names: each with the reason for everybody, for the log, and with what that means. Logs what is new.
fn show(ground: &Ground, kind: &'static str, things: BTreeMap<String, (&str, &str, &str)>) {
    let before = ground.live.unusable().get(kind).cloned().unwrap_or_default();
    if things.is_empty() && before.is_empty() {
        return;
    }
    for gone in before.iter().filter(|gone| !things.contains_key(&gone.name)) {
        tracing::info!("the {kind} {} is no longer unusable", gone.name);
    }
    let now = things.into_iter().map(|(name, (told, logged, meaning))| {
        let known = before.iter().find(|thing| thing.name == name);
        let reason = format!("{told}; {meaning}");
        if known.is_none_or(|known| known.reason != reason) {
            tracing::error!("the {kind} {name} cannot be used: {logged}; {meaning}");
        }
        Unusable { name, reason, since: known.map_or_else(clock::unix, |known| known.since) }
    });
    let now: Vec<Unusable> = now.collect();
    ground.metrics.set_unusable(kind, now.len());
    ground.live.set_unusable(kind, now);
}

/// What becomes of the thing whose text cannot be read.
fn meaning(name: &str) -> &'static str {
    match name.split('/').next().unwrap_or_default() {
        "version" | "draft" => "it has no endpoint",
        "alias" | "domain" | "stage" => "requests for it are answered 503",
        "function" => "the function is served with its defaults",
        "number" => "no version gets a number before it is known",
        "layer" => "the rollout on the alias goes back to stable",
        "past" => "the alias remembers nothing",
        "settings" => "there are no triggers, direct hosts, overrides, trusted proxies and default certificate",
        _ => "it is left out",
    }
}
