//! Hooks: who is asked on the way of a rollout.

use std::time::Duration;

use crate::model::{Hook, HookCall, Hooks};
use crate::text::parse::gate::MAX_TIMEOUT;
use crate::text::parse::place::{Fields, Place, Reading};
use crate::text::parse::scalar::{duration_within, integer, switch, url};

const MAX_HOOKS: usize = 16;
const MAX_ARGUMENTS: usize = 64;

/// `{before: [URL], step: [URL], after: [URL]}`; CodeDeploy's names of the first and the last are known.
pub(super) fn hooks(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Hooks> {
    let what = "a mapping such as `{before: [\"https://ci.example.com/smoke\"]}`";
    let mut fields = place.fields(r, what)?;
    if fields.is_empty() {
        r.problems.push(place.expected(what));
    }
    let hooks = Hooks {
        before: named(&mut fields, r, ["before", "BeforeAllowTraffic"]),
        step: fields.read(r, "step", chain).unwrap_or_default(),
        after: named(&mut fields, r, ["after", "AfterAllowTraffic"]),
    };
    fields.finish(r);
    Some(hooks)
}

/// A chain under one of its two names.
fn named(fields: &mut Fields<'_>, r: &mut Reading<'_>, names: [&'static str; 2]) -> Vec<Hook> {
    fields.alternatives(r, &names, "a chain of hooks has one name", "put all of its hooks into one list");
    let chains = names.map(|name| fields.read(r, name, chain));
    chains.into_iter().flatten().next().unwrap_or_default()
}

fn chain(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<Hook>> {
    let items =
        place.few_items(r, MAX_HOOKS, "hooks", "a list of hooks such as `[\"https://ci.example.com/smoke\"]`")?;
    Some(items.iter().filter_map(|item| hook(item, r)).collect())
}

/// A URL, or a mapping with `http` or `command`.
fn hook(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Hook> {
    let what = "a URL, or a mapping with `http` or `command`";
    if place.is_scalar() {
        let call = HookCall::Http(url(place, r)?);
        return Some(Hook { call, timeout: Hook::default_timeout(false), retries: Hook::RETRIES, callback: false });
    }
    let mut fields = place.fields(r, what)?;
    if fields.alternatives(r, &["http", "command"], "a hook asks in one way", "write several hooks") == 0 {
        let problem = place.problem("this hook asks nobody");
        r.problems.push(problem.help("add `http: URL` or `command: [PROGRAM, ARGUMENT]`"));
    }
    let http = fields.read(r, "http", |place, r| url(place, r).map(HookCall::Http));
    let command = fields.read(r, "command", command);
    let timeout = fields.read(r, "timeout", |place, r| duration_within(place, r, Duration::from_secs(1)..=MAX_TIMEOUT));
    let retries = fields.read(r, "retries", |place, r| integer(place, r, 0..=10));
    let callback = fields.read(r, "callback", switch).unwrap_or(false);
    fields.finish(r);
    Some(Hook {
        call: http.or(command)?,
        timeout: timeout.unwrap_or_else(|| Hook::default_timeout(callback)),
        retries: retries.and_then(|retries| u32::try_from(retries).ok()).unwrap_or(Hook::RETRIES),
        callback,
    })
}

/// `[program, argument]`, run without a shell; variables of the environment are not put in.
fn command(place: &Place<'_>, r: &mut Reading<'_>) -> Option<HookCall> {
    let what = "a list such as `[/usr/local/bin/smoke, --fast]`";
    let items = place.few_items(r, MAX_ARGUMENTS, "parts", what)?;
    let mut parts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(text) = item.text(r, "a text") else { continue };
        if text.contains('\0') || (index == 0 && text.is_empty()) {
            r.problems.push(item.problem("no program can be called so").help(format!("expected {what}")));
        }
        parts.push(text.to_owned());
    }
    (parts.len() == items.len()).then_some(HookCall::Command(parts))
}
