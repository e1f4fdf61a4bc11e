//! Stages, domains, plans and notifiers: each a name and one text.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::http::StatusCode;
use config::model::{Config, Domain, Notifier, Plan, Stage};
use config::text::edit::Edit;
use config::text::format::json;
use config::text::parse::{self, Env, Parsed};
use config::value::host::HostPattern;
use config::value::name::{NotifierName, PlanName, StageName};
use imbl::OrdMap;
use serde_json::Value;

use super::call::{Call, Shown, after, page, put_status, resource};
use super::form;
use super::operation::{Answer, Content, Operation, Verb, run};

/// Of all four.
pub(super) fn operations() -> Vec<Operation> {
    let stages = of::<Stage>(
        ["/v1/stages", "/v1/stages/{name}"],
        [
            ("listStages", "Lists stages."),
            ("getStage", "A stage."),
            ("putStage", "Creates or replaces a stage."),
            ("deleteStage", "Deletes a stage that nothing names."),
        ],
        ["stage", "stageResource"],
    );
    let domains = of::<Domain>(
        ["/v1/domains", "/v1/domains/{name}"],
        [
            ("listDomains", "Lists domains."),
            ("getDomain", "A domain."),
            ("putDomain", "Creates or replaces a domain."),
            ("deleteDomain", "Deletes a domain."),
        ],
        ["domain", "domainResource"],
    );
    let plans = of::<Plan>(
        ["/v1/plans", "/v1/plans/{name}"],
        [
            ("listPlans", "Lists plans."),
            ("getPlan", "A plan."),
            ("putPlan", "Creates or replaces a plan."),
            ("deletePlan", "Deletes a plan that nothing names."),
        ],
        ["plan", "planResource"],
    );
    let notifiers = of::<Notifier>(
        ["/v1/notifiers", "/v1/notifiers/{name}"],
        [
            ("listNotifiers", "Lists notifiers."),
            ("getNotifier", "A notifier; its secrets stand as the variables they are read from."),
            ("putNotifier", "Creates or replaces a notifier."),
            ("deleteNotifier", "Deletes a notifier that nothing names."),
        ],
        ["notifier", "notifierResource"],
    );
    [stages, domains, plans, notifiers].concat()
}

/// A kind of thing that is a name and one text.
trait Kind: Sized + 'static {
    type Name: FromStr<Err: Display> + Display + Ord + Clone + Send + Sync + 'static;
    const NOUN: &'static str;
    fn all(config: &Config) -> &OrdMap<Self::Name, Arc<Self>>;
    fn read(name: &Self::Name, text: &str, env: Env<'_>) -> Parsed<Self>;
    fn edit(name: Self::Name, to: Option<Arc<Self>>) -> Edit;
    fn json(&self) -> Value;
}

macro_rules! kind {
    ($kind:ident, $name:ident, $noun:literal, $all:ident, $json:path, $read:expr) => {
        impl Kind for $kind {
            type Name = $name;
            const NOUN: &'static str = $noun;

            fn all(config: &Config) -> &OrdMap<$name, Arc<Self>> {
                &config.$all
            }

            fn read(name: &$name, text: &str, env: Env<'_>) -> Parsed<Self> {
                $read(name, text, env)
            }

            fn edit(name: $name, to: Option<Arc<Self>>) -> Edit {
                Edit::$kind(name, to)
            }

            fn json(&self) -> Value {
                $json(self)
            }
        }
    };
}

kind!(Stage, StageName, "stage", stages, json::stage, parse::parse_stage);
kind!(Domain, HostPattern, "domain", domains, json::domain, parse::parse_domain);
kind!(Plan, PlanName, "plan", plans, form::plan, |name: &PlanName, text: &str, env: Env<'_>| {
    parse::parse_plan_text(&format!("plans.{name}"), text, env)
});
kind!(
    Notifier,
    NotifierName,
    "notifier",
    notifiers,
    json::notifier,
    |name: &NotifierName, text: &str, env: Env<'_>| { parse::parse_notifier(&format!("notifiers.{name}"), text, env) }
);

type Named = (&'static str, &'static str);

fn of<K: Kind + Send + Sync>(
    [all, one]: [&'static str; 2],
    [listing, reading, putting, deleting]: [Named; 4],
    [form, answer]: [&'static str; 2],
) -> Vec<Operation> {
    vec![
        Operation::get(all, listing.0, listing.1, run!(list::<K>)).pages(answer),
        Operation::get(one, reading.0, reading.1, run!(get::<K>)).answers(Content::Form(answer)),
        Operation::change(Verb::Put, one, putting.0, putting.1, run!(put::<K>))
            .takes(form)
            .statuses(&[200, 201])
            .answers(Content::Form(answer)),
        Operation::change(Verb::Delete, one, deleting.0, deleting.1, run!(delete::<K>)),
    ]
}

fn text<K: Kind>(name: &K::Name) -> String {
    format!("{}/{name}", K::NOUN)
}

async fn list<K: Kind>(call: Call) -> Answer {
    let (limit, shown) = (call.limit()?, call.live());
    let items = K::all(&shown.config).range(after::<K::Name>(&call)?).take(limit + 1);
    let items = items.map(|(name, value)| (name, shown.resource(&text::<K>(name), &name.to_string(), value.json())));
    Ok(page(items.collect(), limit))
}

async fn get<K: Kind>(call: Call) -> Answer {
    let name = call.name("name")?;
    show::<K>(&call.live(), &name)
}

async fn put<K: Kind + Send + Sync>(call: Call) -> Answer {
    let name: K::Name = call.name("name")?;
    let value = call.read(|text, env| K::read(&name, text, env))?;
    call.edit(&text::<K>(&name), vec![K::edit(name.clone(), Some(value.into()))], |shown| {
        let mut response = show::<K>(shown, &name)?;
        *response.status_mut() = put_status(K::all(&shown.before).contains_key(&name));
        Ok(response)
    })
    .await
}

async fn delete<K: Kind>(call: Call) -> Answer {
    let name: K::Name = call.name("name")?;
    let edits = vec![K::edit(name.clone(), None)];
    call.edit(&text::<K>(&name), edits, |shown| Ok(shown.gone())).await
}

fn show<K: Kind>(shown: &Shown, name: &K::Name) -> Answer {
    let value = K::all(&shown.config).get(name);
    let value = value.ok_or_else(|| shown.lacks(&text::<K>(name), &format!("{} `{name}`", K::NOUN)))?;
    Ok(resource(StatusCode::OK, shown.resource(&text::<K>(name), &name.to_string(), value.json())))
}
