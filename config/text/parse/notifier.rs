//! Notifiers: where the news of a rollout goes.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::Notifier;
use crate::text::parse::place::{Fields, Place, Reading, one_of};
use crate::text::parse::scalar::{self, full_template, line};
use crate::value::name::NotifierName;
use crate::value::template::Template;

const KINDS: [&str; 6] = ["dingtalk", "feishu", "wecom", "slack", "webhook", "log"];

/// `notifiers:`
pub(super) fn notifiers(place: &Place<'_>, r: &mut Reading<'_>) -> Option<OrdMap<NotifierName, Arc<Notifier>>> {
    let mut notifiers = OrdMap::new();
    for entry in place.entries(r, "notifiers by name") {
        let name = entry.parse_key::<NotifierName>(r, "a notifier name");
        let notifier = notifier(&entry, r);
        if notifier.is_none() {
            r.broken.insert(entry.path());
        }
        notifiers.extend(name.zip(notifier.map(Arc::new)));
    }
    Some(notifiers)
}

/// `log`, or a mapping with exactly one kind: `{dingtalk: {access_token: "${DINGTALK_TOKEN}"}}`.
pub(super) fn notifier(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Notifier> {
    let what = format!("a mapping with one of {}", one_of(&KINDS));
    if place.is_scalar() {
        if place.text(r, "") == Some("log") {
            return Some(Notifier::Log);
        }
        r.problems.push(place.expected(&format!("`log` or {what}")));
        return None;
    }
    let mut fields = place.fields(r, &what)?;
    if fields.alternatives(r, &KINDS, "a notifier is of one kind", "make several notifiers") == 0 {
        r.problems.push(place.problem("this notifier tells nobody").help(format!("expected {what}")));
    }
    let kinds = [
        fields.read(r, "dingtalk", dingtalk),
        fields.read(r, "feishu", |place, r| {
            with(place, r, "{url: \"${FEISHU_URL}\"}", |f, r| {
                Some(Notifier::Feishu { url: url(f, r)?, secret: optional(f, r, "secret") })
            })
        }),
        fields.read(r, "wecom", |place, r| {
            with(place, r, "{key: \"${WECOM_KEY}\"}", |f, r| {
                let url = f.read(r, "url", some_url);
                Some(Notifier::WeCom { key: required(f, r, "key")?, url })
            })
        }),
        fields.read(r, "slack", |place, r| {
            with(place, r, "{url: \"${SLACK_URL}\"}", |f, r| Some(Notifier::Slack { url: url(f, r)? }))
        }),
        fields.read(r, "webhook", |place, r| {
            with(place, r, "{url: \"https://example.com/hook\"}", |f, r| {
                Some(Notifier::Webhook { url: url(f, r)?, secret: optional(f, r, "secret") })
            })
        }),
        fields
            .read(r, "log", |place, r| place.fields(r, "`{}`").map(|fields| fields.finish(r)).map(|()| Notifier::Log)),
    ];
    fields.finish(r);
    kinds.into_iter().flatten().next()
}

fn dingtalk(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Notifier> {
    with(place, r, "{access_token: \"${DINGTALK_TOKEN}\"}", |fields, r| {
        let secret = optional(fields, r, "secret");
        let mut at_users = Vec::new();
        if let Some(users) = fields.take("at_users") {
            at_users.extend(users.items(r, "a list of users").iter().filter_map(|item| line(item, r)));
        }
        let url = fields.read(r, "url", some_url);
        Some(Notifier::DingTalk { access_token: required(fields, r, "access_token")?, secret, at_users, url })
    })
}

fn with(
    place: &Place<'_>,
    r: &mut Reading<'_>,
    example: &str,
    read: impl FnOnce(&mut Fields<'_>, &mut Reading<'_>) -> Option<Notifier>,
) -> Option<Notifier> {
    let mut fields = place.fields(r, &format!("a mapping such as `{example}`"))?;
    let notifier = read(&mut fields, r);
    fields.finish(r);
    notifier
}

fn required(fields: &mut Fields<'_>, r: &mut Reading<'_>, name: &'static str) -> Option<Template> {
    let place = fields.require(r, name, "keep it in the environment: \"${NAME}\"")?;
    full_template(&place, r)
}

fn optional(fields: &mut Fields<'_>, r: &mut Reading<'_>, name: &'static str) -> Option<Template> {
    fields.read(r, name, full_template)
}

fn url(fields: &mut Fields<'_>, r: &mut Reading<'_>) -> Option<Template> {
    let place = fields.require(r, "url", "for example `url: \"${WEBHOOK_URL}\"`")?;
    some_url(&place, r)
}

fn some_url(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Template> {
    scalar::url(place, r)
}
