//! Aliases.

use std::sync::Arc;

use config::dialect::arn::new_alias_name;
use config::dialect::description::read_description;
use config::dialect::failure::{DialectFailure, FailureKind};
use config::dialect::lambda::{
    CreateAlias, RoutingConfig, ShownAlias, UpdateAlias, alias_configuration, read_body, read_version, wrong_split,
};
use config::dialect::main_split::MainSplit;
use config::model::{Alias, AliasPatch, Field};
use config::text::edit::{Edit, FunctionEdit};
use config::value::name::{AliasName, FunctionName, VersionId};
use serde_json::{Value, json};

use super::LambdaRequest;
use super::versions::with_marker;
use crate::control::{Expected, Guard};
use crate::dialects::plane::{Drafted, Seen};

impl LambdaRequest<'_> {
    fn named_alias(&self) -> Result<(FunctionName, AliasName), DialectFailure> {
        let function = self.unqualified()?;
        let text = self.segments.get(3).map(String::as_str).unwrap_or_default();
        let missing =
            |_| DialectFailure::new(FailureKind::NoAlias, format!("Cannot find alias arn: {function}:{text}"));
        let alias = text.parse().map_err(missing)?;
        Ok((function, alias))
    }

    fn shown_alias(&self, seen: &Seen, function: &FunctionName, name: &AliasName) -> Result<Value, DialectFailure> {
        let alias = seen.alias(function, name)?;
        let (text, revision) = seen.effective_revision(function, name);
        let revision_id = self.plane().id_of(&text, revision);
        let shown = ShownAlias { function, name, alias: &alias, revision_id: &revision_id };
        Ok(alias_configuration(self.place, &shown))
    }

    pub(super) fn alias(&self) -> Result<Value, DialectFailure> {
        let (function, name) = self.named_alias()?;
        self.shown_alias(&self.plane().seen(), &function, &name)
    }

    pub(super) fn list_aliases(&self) -> Result<Value, DialectFailure> {
        let seen = self.plane().seen();
        let function = self.unqualified()?;
        let main = self.parameter("FunctionVersion").map(read_version).transpose()?;
        let names = seen.function(&function)?.aliases.keys().filter(|name| **name != AliasName::default_alias());
        let is_of = |name: &&AliasName| {
            let alias = seen.alias(&function, name).ok();
            main.is_none_or(|main| alias.is_some_and(|alias| MainSplit::of(&alias).main == main))
        };
        let (page, next) = self.paged(names.filter(is_of).map(|name| (name.to_string(), name)))?;
        let listed = page.into_iter().map(|name| self.shown_alias(&seen, &function, name));
        Ok(with_marker(json!({ "Aliases": listed.collect::<Result<Vec<_>, _>>()? }), next))
    }

    pub(super) async fn create_alias(&self) -> Result<Value, DialectFailure> {
        let function = self.unqualified()?;
        let body: CreateAlias = read_body(&self.signed.body)?;
        let name = new_alias_name(&body.name)?;
        let main = read_version(&body.function_version)?;
        let split = body.routing_config.as_ref().unwrap_or(&RoutingConfig::default()).with(main)?;
        let description = read_description(body.description.as_deref())?;
        let description = if let Field::Set(text) = description { Some(text) } else { None };
        let alias = Arc::new(Alias { description, ..split.alias().map_err(wrong_split)? });
        let create = |seen: &Seen| -> Result<Drafted, DialectFailure> {
            usable(seen, &function, &split)?;
            if seen.function(&function)?.aliases.contains_key(&name) {
                let arn = self.place.function(&function, Some(name.as_str()));
                return Err(DialectFailure::new(FailureKind::AliasExists, format!("Alias already exists: {arn}")));
            }
            let edit = FunctionEdit::CreateAlias(name.clone(), Arc::clone(&alias));
            Ok(Drafted { edits: vec![Edit::Function(function.clone(), edit)], guard: None, is_stated: true })
        };
        let (_, seen) = self.plane().change(&self.signed.key, create).await?;
        self.shown_alias(&seen, &function, &name)
    }

    pub(super) async fn update_alias(&self) -> Result<Value, DialectFailure> {
        let (function, name) = self.named_alias()?;
        let body: UpdateAlias = read_body(&self.signed.body)?;
        let description = read_description(body.description.as_deref())?;
        let update = |seen: &Seen| -> Result<Drafted, DialectFailure> {
            let now = seen.alias(&function, &name)?;
            let (text, revision) = seen.effective_revision(&function, &name);
            let stated = self.plane().stated(body.revision_id.as_deref(), &text, revision)?;
            let is_stated = stated.is_some();
            let split = body.split(&now)?;
            let patch = match &split {
                Some(split) => {
                    usable(seen, &function, split)?;
                    split.patch().map_err(wrong_split)?
                }
                None => AliasPatch::default(),
            };
            let patch = AliasPatch { description: description.clone(), ..patch };
            let edits = vec![Edit::Function(function.clone(), FunctionEdit::PatchAlias(name.clone(), patch))];
            // What stays is taken from what is live.
            let guard = stated.or(Some(Guard { name: text, expected: Expected::Revision(revision) }));
            Ok(Drafted { edits, guard, is_stated })
        };
        let (_, seen) = self.plane().change(&self.signed.key, update).await?;
        self.shown_alias(&seen, &function, &name)
    }

    pub(super) async fn delete_alias(&self) -> Result<(), DialectFailure> {
        let (function, name) = self.named_alias()?;
        if !self.plane().seen().function(&function)?.aliases.contains_key(&name) {
            // As often as it is asked.
            return Ok(());
        }
        let delete = |_: &Seen| -> Result<Drafted, DialectFailure> {
            let edits = vec![Edit::Function(function.clone(), FunctionEdit::Alias(name.clone(), None))];
            Ok(Drafted { edits, guard: None, is_stated: false })
        };
        self.plane().change(&self.signed.key, delete).await.map(drop)
    }
}

/// Checks that every version of a split can be pointed to.
fn usable(seen: &Seen, function: &FunctionName, split: &MainSplit) -> Result<(), DialectFailure> {
    let additional = split.additional.iter().map(|(version, _)| *version);
    let versions: Vec<VersionId> = additional.chain([split.main]).collect();
    versions.into_iter().try_for_each(|version| seen.usable(function, version))
}
