//! Tencent SCF: one path, the action in a header, and answers of status 200 whatever they say.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::response::Response;
use config::dialect::description::read_description;
use config::dialect::event::routing_key;
use config::dialect::failure::{DialectFailure, FailureKind};
use config::dialect::main_split::{MainSplit, MainSplitError};
use config::dialect::scf::{
    LIMIT, NAMESPACE, Parameters, ScfRouting, WrittenRouting, answer_body, error_body, needed, read_parameters,
    read_qualifier, read_version, replaced_rules, shown_alias,
};
use config::model::{Alias, AliasPatch, Field, Function, Target, Version};
use config::text::edit::{Edit, FunctionEdit};
use config::value::name::{AliasName, FunctionName, Qualifier, VersionId};
use serde_json::{Value, json};

use super::Desk;
use super::invoke::{EventCall, Invoked, Tail};
use super::plane::{Drafted, Plane, Seen, version_text};
use super::received::{Carried, Right, Signed, check_event, of_type, text};
use crate::control::{Expected, Guard};

/// Exactly this: the client takes an error with a parameter behind it for a success.
const JSON: &str = "application/json";
/// The most items of a page.
const MOST: usize = 50;

/// The actions that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScfAction {
    GetFunction,
    ListFunctions,
    PublishVersion,
    ListVersionByFunction,
    CreateAlias,
    UpdateAlias,
    GetAlias,
    ListAliases,
    DeleteAlias,
    Invoke,
    InvokeFunction,
}

const ACTIONS: [(&str, ScfAction); 11] = [
    ("GetFunction", ScfAction::GetFunction),
    ("ListFunctions", ScfAction::ListFunctions),
    ("PublishVersion", ScfAction::PublishVersion),
    ("ListVersionByFunction", ScfAction::ListVersionByFunction),
    ("CreateAlias", ScfAction::CreateAlias),
    ("UpdateAlias", ScfAction::UpdateAlias),
    ("GetAlias", ScfAction::GetAlias),
    ("ListAliases", ScfAction::ListAliases),
    ("DeleteAlias", ScfAction::DeleteAlias),
    ("Invoke", ScfAction::Invoke),
    ("InvokeFunction", ScfAction::InvokeFunction),
];

/// The action of a request; `None` if it is not served.
pub(super) fn action(parts: &Parts) -> Option<ScfAction> {
    let name = parts.headers.get("x-tc-action").filter(|_| parts.method == "POST" && parts.uri.path() == "/")?;
    ACTIONS.iter().find(|(known, _)| known.as_bytes() == name.as_bytes()).map(|(_, action)| *action)
}

impl ScfAction {
    pub(super) fn name(self) -> &'static str {
        ACTIONS.iter().find(|(_, action)| *action == self).map_or("other", |(name, _)| name)
    }

    pub(super) fn right(self) -> Right {
        match self {
            Self::GetFunction
            | Self::ListFunctions
            | Self::ListVersionByFunction
            | Self::GetAlias
            | Self::ListAliases => Right::Read,
            Self::PublishVersion | Self::CreateAlias | Self::UpdateAlias | Self::DeleteAlias => Right::Change,
            Self::Invoke | Self::InvokeFunction => Right::Invoke,
        }
    }
}

/// The answer to a failure.
pub(super) fn told(failure: &DialectFailure, id: &str) -> Response {
    of_type(200, JSON, error_body(failure, id).to_string())
}

/// One request with its parameters.
struct ScfRequest<'r> {
    desk: &'r Desk,
    signed: &'r Signed,
    parameters: Parameters,
}

/// Carries out one action.
pub(super) async fn carried_out(desk: &Desk, action: ScfAction, signed: &Signed) -> Result<Carried, DialectFailure> {
    let request = ScfRequest { desk, signed, parameters: read_parameters(&signed.body)? };
    let (fields, is_function_error) = match action {
        ScfAction::GetFunction => (request.get_function().await?, false),
        ScfAction::ListFunctions => (request.list_functions().await?, false),
        ScfAction::PublishVersion => (request.publish().await?, false),
        ScfAction::ListVersionByFunction => (request.list_versions().await?, false),
        ScfAction::CreateAlias => (request.create_alias().await?, false),
        ScfAction::UpdateAlias => (request.update_alias().await?, false),
        ScfAction::GetAlias => (request.get_alias().await?, false),
        ScfAction::ListAliases => (request.list_aliases().await?, false),
        ScfAction::DeleteAlias => (request.delete_alias().await?, false),
        ScfAction::Invoke => request.invoke(request.parameters.client_context.as_deref()).await?,
        ScfAction::InvokeFunction => request.invoke(request.parameters.event.as_deref()).await?,
    };
    let Value::Object(fields) = fields else { return Err(wrong("the answer has no fields")) };
    let response = of_type(200, JSON, answer_body(fields, &signed.id).to_string());
    Ok(Carried { response, is_function_error })
}

fn wrong(message: impl Into<String>) -> DialectFailure {
    DialectFailure::new(FailureKind::WrongParameter, message)
}

fn wrong_split(error: MainSplitError) -> DialectFailure {
    DialectFailure::new(FailureKind::WrongWeights, error.to_string())
}

/// RFC 3339 as this cloud writes times: `2026-11-20 15:00:00`.
fn local(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

impl ScfRequest<'_> {
    fn plane(&self) -> &Plane {
        &self.desk.plane
    }

    fn named(&self) -> Result<FunctionName, DialectFailure> {
        let name = needed(self.parameters.function_name.as_ref(), "FunctionName")?;
        let missing =
            |error| DialectFailure::new(FailureKind::NoFunction, format!("there is no function `{name}`: {error}"));
        name.parse().map_err(missing)
    }

    fn named_alias(&self) -> Result<(FunctionName, AliasName), DialectFailure> {
        let (function, name) = (self.named()?, needed(self.parameters.name.as_ref(), "Name")?);
        let missing = |error| DialectFailure::new(FailureKind::NoAlias, format!("there is no alias `{name}`: {error}"));
        Ok((function, name.parse().map_err(missing)?))
    }

    /// The part of a list that is asked for.
    fn page<T>(&self, items: Vec<T>) -> Vec<T> {
        let (offset, limit) = (self.parameters.offset.unwrap_or(0), self.parameters.limit.unwrap_or(LIMIT));
        let limit = if limit == 0 { LIMIT } else { limit.min(MOST) };
        items.into_iter().skip(offset).take(limit).collect()
    }

    async fn time(&self, seen: &Seen, name: &str) -> String {
        local(&self.plane().time_of(seen.revision_of(name)).await)
    }

    async fn get_function(&self) -> Result<Value, DialectFailure> {
        let (seen, name) = (self.plane().seen(), self.named()?);
        let model = seen.function(&name)?;
        let id = match self.parameters.qualifier.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => match read_qualifier(Some(text))? {
                Qualifier::Version(id) => id,
                Qualifier::Alias(alias) => MainSplit::of(&*seen.alias(&name, &alias)?).main,
            },
            None => shown_version(model).ok_or_else(|| no_version(&name))?,
        };
        let version = model.version(id).ok_or_else(|| {
            DialectFailure::new(FailureKind::NoVersion, format!("version {id} of `{name}` does not exist"))
        })?;
        let mut fields = function_fields(&name, version);
        fields["FunctionVersion"] = id.to_string().into();
        fields["ModTime"] = self.time(&seen, &version_text(&name, id)).await.into();
        fields["Timeout"] = timeout_of(version).into();
        fields["MemorySize"] = 128.into();
        fields["Handler"] = "http".into();
        fields["CodeSize"] = 0.into();
        Ok(fields)
    }

    async fn list_functions(&self) -> Result<Value, DialectFailure> {
        let seen = self.plane().seen();
        let part = self.parameters.search_key.as_deref().unwrap_or_default();
        let found = seen.config.functions.iter().filter(|(name, _)| name.as_str().contains(part));
        let all: Vec<_> = found.filter_map(|(name, model)| Some((name, model, shown_version(model)?))).collect();
        let total = all.len();
        let mut functions = Vec::new();
        for (name, model, id) in self.page(all) {
            let Some(version) = model.version(id) else { continue };
            let mut fields = function_fields(name, version);
            fields["ModTime"] = self.time(&seen, &version_text(name, id)).await.into();
            functions.push(fields);
        }
        Ok(json!({ "Functions": functions, "TotalCount": total }))
    }

    async fn publish(&self) -> Result<Value, DialectFailure> {
        let name = self.named()?;
        let seen = self.plane().seen();
        if seen.function(&name)?.draft.is_none() {
            let message = format!("`{name}` has no $LATEST to publish: `weir draft set {name} --endpoint HOST:PORT`");
            return Err(DialectFailure::new(FailureKind::NoVersion, message));
        }
        let description = self.parameters.description.clone().filter(|text| !text.is_empty());
        let edit = FunctionEdit::Publish { from: None, label: None, description, expected: None };
        let edits = vec![Edit::Function(name.clone(), edit)];
        let (number, seen) = self.plane().publish(&self.signed.key, edits, None, &name).await?;
        let version = seen.function(&name)?.versions.get(&number).cloned();
        let version = version.ok_or_else(|| no_version(&name))?;
        Ok(json!({
            "FunctionVersion": number.to_string(), "CodeSize": 0, "MemorySize": 128, "Handler": "http",
            "Description": version.description.as_deref().unwrap_or_default(), "Timeout": timeout_of(&version),
            "Runtime": "CustomRuntime", "Namespace": NAMESPACE,
        }))
    }

    async fn list_versions(&self) -> Result<Value, DialectFailure> {
        let (seen, name) = (self.plane().seen(), self.named()?);
        let model = seen.function(&name)?;
        let draft = model.draft.iter().map(|draft| (VersionId::Latest, draft));
        let numbered = model.versions.iter().map(|(number, version)| (VersionId::Number(*number), version));
        let all: Vec<_> = draft.chain(numbered).collect();
        let total = all.len();
        let (mut names, mut versions) = (Vec::new(), Vec::new());
        for (id, version) in self.page(all) {
            names.push(id.to_string());
            versions.push(json!({
                "Version": id.to_string(), "Description": version.description.as_deref().unwrap_or_default(),
                "ModTime": self.time(&seen, &version_text(&name, id)).await, "Status": "Active",
            }));
        }
        Ok(json!({ "FunctionVersion": names, "Versions": versions, "TotalCount": total }))
    }

    async fn shown(&self, seen: &Seen, function: &FunctionName, name: &AliasName) -> Result<Value, DialectFailure> {
        let mut fields = shown_alias(name, &*seen.alias(function, name)?);
        let (_, revision) = seen.effective_revision(function, name);
        fields["ModTime"] = local(&self.plane().time_of(revision).await).into();
        Ok(fields)
    }

    async fn get_alias(&self) -> Result<Value, DialectFailure> {
        let (function, name) = self.named_alias()?;
        self.shown(&self.plane().seen(), &function, &name).await
    }

    async fn list_aliases(&self) -> Result<Value, DialectFailure> {
        let (seen, function) = (self.plane().seen(), self.named()?);
        let model = seen.function(&function)?;
        let main = self.parameters.function_version.as_deref().filter(|text| !text.is_empty());
        let main = main.map(read_version).transpose()?;
        let built_in = AliasName::default_alias();
        let implied =
            (!model.aliases.contains_key(&built_in) && model.own(&built_in).is_some()).then(|| built_in.clone());
        let is_of = |name: &AliasName| {
            let alias = model.effective(name);
            main.is_none_or(|main| alias.is_some_and(|alias| MainSplit::of(&alias).main == main))
        };
        let all: Vec<AliasName> = implied.into_iter().chain(model.aliases.keys().cloned()).filter(is_of).collect();
        let total = all.len();
        let mut aliases = Vec::new();
        for name in self.page(all) {
            aliases.push(self.shown(&seen, &function, &name).await?);
        }
        Ok(json!({ "Aliases": aliases, "TotalCount": total }))
    }

    /// The routing that a request writes: without one, everything goes to its main version.
    fn written(&self) -> Result<WrittenRouting, DialectFailure> {
        let main = read_version(needed(self.parameters.function_version.as_ref(), "FunctionVersion")?)?;
        self.parameters.routing_config.as_ref().unwrap_or(&ScfRouting::default()).with(main)
    }

    async fn create_alias(&self) -> Result<Value, DialectFailure> {
        let function = self.named()?;
        let text = needed(self.parameters.name.as_ref(), "Name")?;
        let name: AliasName = text.parse().map_err(|error| {
            DialectFailure::new(
                FailureKind::WrongName,
                format!("`{text}` cannot be the name of an alias here: {error}"),
            )
        })?;
        let WrittenRouting { split, rules } = self.written()?;
        let description = read_description(self.parameters.description.as_deref())?;
        let description = if let Field::Set(text) = description { Some(text) } else { None };
        let alias = Arc::new(Alias { description, rules: rules.clone(), ..split.alias().map_err(wrong_split)? });
        let create = |seen: &Seen| -> Result<Drafted, DialectFailure> {
            usable(seen, &function, &split, &rules)?;
            if seen.function(&function)?.own(&name).is_some() {
                return Err(DialectFailure::new(
                    FailureKind::AliasExists,
                    format!("there is an alias `{name}` already"),
                ));
            }
            let edit = FunctionEdit::CreateAlias(name.clone(), Arc::clone(&alias));
            Ok(Drafted { edits: vec![Edit::Function(function.clone(), edit)], guard: None, is_stated: true })
        };
        self.plane().change(&self.signed.key, create).await?;
        Ok(json!({}))
    }

    async fn update_alias(&self) -> Result<Value, DialectFailure> {
        let (function, name) = self.named_alias()?;
        let WrittenRouting { split, rules } = self.written()?;
        let description = read_description(self.parameters.description.as_deref())?;
        let update = |seen: &Seen| -> Result<Drafted, DialectFailure> {
            let now = seen.alias(&function, &name)?;
            usable(seen, &function, &split, &rules)?;
            let rules = match replaced_rules(&now.rules, rules.clone()) {
                rules if rules == now.rules => Field::Keep,
                rules if rules.is_empty() => Field::Reset,
                rules => Field::Set(rules),
            };
            let patch = split.patch().map_err(wrong_split)?;
            let patch = AliasPatch { rules, description: description.clone(), ..patch };
            let (text, revision) = seen.effective_revision(&function, &name);
            let is_written = seen.function(&function)?.aliases.contains_key(&name);
            let (edit, expected) = if is_written {
                (FunctionEdit::PatchAlias(name.clone(), patch), Expected::Revision(revision))
            } else {
                // `$DEFAULT` is there before anybody writes it.
                (FunctionEdit::CreateAlias(name.clone(), Arc::new(now.patched(&patch))), Expected::Absent)
            };
            let guard = Some(Guard { name: text, expected });
            Ok(Drafted { edits: vec![Edit::Function(function.clone(), edit)], guard, is_stated: false })
        };
        self.plane().change(&self.signed.key, update).await?;
        Ok(json!({}))
    }

    async fn delete_alias(&self) -> Result<Value, DialectFailure> {
        let (function, name) = self.named_alias()?;
        let delete = |seen: &Seen| -> Result<Drafted, DialectFailure> {
            seen.alias(&function, &name)?;
            let edits = vec![Edit::Function(function.clone(), FunctionEdit::Alias(name.clone(), None))];
            Ok(Drafted { edits, guard: None, is_stated: false })
        };
        self.plane().change(&self.signed.key, delete).await?;
        Ok(json!({}))
    }

    async fn invoke(&self, event: Option<&str>) -> Result<(Value, bool), DialectFailure> {
        let function = self.named()?;
        let qualifier = read_qualifier(self.parameters.qualifier.as_deref())?;
        match self.parameters.invocation_type.as_deref() {
            None | Some("" | "RequestResponse") => {}
            Some("Event") => {
                let message = "asynchronous events are not taken yet: invoke by RequestResponse";
                return Err(DialectFailure::new(FailureKind::Unsupported, message));
            }
            Some(other) => {
                return Err(wrong(format!("the invocation type `{other}` is neither RequestResponse nor Event")));
            }
        }
        let is_tail = match self.parameters.log_type.as_deref() {
            None | Some("" | "None") => false,
            Some("Tail") => true,
            Some(other) => return Err(wrong(format!("the log type `{other}` is neither None nor Tail"))),
        };
        let routing = self.parameters.routing_key.as_deref().filter(|text| !text.is_empty());
        let routing = routing.map(routing_key).transpose()?.unwrap_or_default();
        let event = event.unwrap_or_default();
        check_event(event.as_bytes())?;
        let call = EventCall {
            function,
            qualifier,
            event: event.as_bytes().to_vec().into(),
            routing,
            headers: super::invoke::clean_headers(&self.signed.parts.headers),
            host: text(&self.signed.parts, "host").unwrap_or_default(),
            peer: self.signed.peer,
        };
        let invoked = self.desk.invoke(call).await?;
        let log = if is_tail { Tail { id: &self.signed.id, invoked: &invoked }.to_string() } else { String::new() };
        Ok((json!({ "Result": result(&invoked, &self.signed.id, log) }), invoked.error.is_some()))
    }
}

/// What came of an invocation, as the clients read it.
fn result(invoked: &Invoked, id: &str, log: String) -> Value {
    let millis = invoked.took.as_secs_f64() * 1e3;
    let said = String::from_utf8_lossy(&invoked.body).into_owned();
    let (ret, error, code) = match &invoked.error {
        None => (said, String::new(), 0),
        Some(error) if said.is_empty() => (String::new(), error.message.clone(), 1),
        Some(error) => (String::new(), format!("{}: {said}", error.message), 1),
    };
    json!({
        "FunctionRequestId": id, "RetMsg": ret, "ErrMsg": error, "Log": log, "InvokeResult": code,
        "Duration": millis, "BillDuration": millis.ceil(), "MemUsage": 0,
    })
}

fn no_version(name: &FunctionName) -> DialectFailure {
    DialectFailure::new(FailureKind::NoVersion, format!("`{name}` has neither a draft nor a version"))
}

/// The version that stands for a function: its draft, or else its newest one.
fn shown_version(function: &Function) -> Option<VersionId> {
    let newest = function.versions.keys().next_back().map(|number| VersionId::Number(*number));
    function.draft.as_ref().map(|_| VersionId::Latest).or(newest)
}

fn function_fields(name: &FunctionName, version: &Version) -> Value {
    json!({
        "FunctionName": name.as_str(), "Namespace": NAMESPACE, "Runtime": "CustomRuntime", "Type": "HTTP",
        "Status": "Active", "StatusDesc": "", "Description": version.description.as_deref().unwrap_or_default(),
    })
}

fn timeout_of(version: &Version) -> u64 {
    match &version.target {
        Target::Upstream(upstream) => upstream.timeouts.response.as_secs().max(1),
        Target::Response(_) => 1,
    }
}

/// Checks that every version of a routing can be pointed to.
fn usable(
    seen: &Seen,
    function: &FunctionName,
    split: &MainSplit,
    rules: &[config::model::Rule],
) -> Result<(), DialectFailure> {
    let additional = split.additional.iter().map(|(version, _)| *version);
    let versions: Vec<VersionId> =
        additional.chain([split.main]).chain(rules.iter().map(|rule| rule.version)).collect();
    versions.into_iter().try_for_each(|version| seen.usable(function, version))
}
