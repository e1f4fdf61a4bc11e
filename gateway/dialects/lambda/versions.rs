//! Functions and versions.

use config::dialect::failure::{DialectFailure, FailureKind};
use config::dialect::lambda::{PublishVersion, UpdateFunctionCode, code_sha256, image_uri, read_body};
use config::model::{Function, Version};
use config::text::edit::{Edit, FunctionEdit};
use config::text::format::json as form;
use config::text::parse;
use config::value::name::{FunctionName, Qualifier, VersionId};
use serde_json::{Value, json};

use super::{LambdaRequest, wrong};
use crate::dialects::plane::{Drafted, Seen, version_text};

impl LambdaRequest<'_> {
    pub(super) async fn list_functions(&self) -> Result<Value, DialectFailure> {
        let seen = self.plane().seen();
        let is_all = match self.parameter("FunctionVersion") {
            None => false,
            Some("ALL") => true,
            Some(other) => return Err(wrong(format!("FunctionVersion is `{other}`, and may be `ALL`"))),
        };
        let functions = seen.config.functions.iter().flat_map(|(name, function)| {
            let versions = versions(function);
            let shown = if is_all { versions } else { versions.into_iter().take(1).collect() };
            shown.into_iter().map(move |(id, version)| (format!("{name}:{id}"), (name, id, version)))
        });
        let (page, next) = self.paged(functions)?;
        let mut listed = Vec::new();
        for (name, id, version) in page {
            let qualifier = is_all.then(|| id.to_string());
            listed.push(self.shown(&seen, name, (id, version), qualifier.as_deref()).await);
        }
        Ok(with_marker(json!({ "Functions": listed }), next))
    }

    pub(super) async fn function(&self) -> Result<Value, DialectFailure> {
        let seen = self.plane().seen();
        let (name, qualifier) = self.named()?;
        let found = self.version(&seen, &name, qualifier.as_ref())?;
        let text = qualifier.map(|qualifier| qualifier.to_string());
        let configuration = self.shown(&seen, &name, found, text.as_deref()).await;
        let code = match image_uri(found.1) {
            Some(uri) => json!({ "RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": uri }),
            None => json!({ "RepositoryType": "ECR" }),
        };
        Ok(json!({ "Configuration": configuration, "Code": code, "Tags": {} }))
    }

    pub(super) async fn configuration(&self) -> Result<Value, DialectFailure> {
        let seen = self.plane().seen();
        let (name, qualifier) = self.named()?;
        let found = self.version(&seen, &name, qualifier.as_ref())?;
        let text = qualifier.map(|qualifier| qualifier.to_string());
        Ok(self.shown(&seen, &name, found, text.as_deref()).await)
    }

    pub(super) async fn list_versions(&self) -> Result<Value, DialectFailure> {
        let seen = self.plane().seen();
        let name = self.unqualified()?;
        let all = versions(seen.function(&name)?);
        let (page, next) = self.paged(all.into_iter().map(|(id, version)| (id.to_string(), (id, version))))?;
        let mut listed = Vec::new();
        for (id, version) in page {
            listed.push(self.shown(&seen, &name, (id, version), Some(&id.to_string())).await);
        }
        Ok(with_marker(json!({ "Versions": listed }), next))
    }

    pub(super) async fn publish(&self) -> Result<Value, DialectFailure> {
        let name = self.unqualified()?;
        let PublishVersion { code_sha256: expected, description, revision_id } = read_body(&self.signed.body)?;
        let seen = self.plane().seen();
        let draft = draft(&seen, &name)?;
        let expected = expected.filter(|expected| !expected.is_empty());
        if let Some(expected) = expected.as_ref().filter(|expected| **expected != code_sha256(draft)) {
            let message = format!("CodeSHA256 ({expected}) is different from that of $LATEST ({})", code_sha256(draft));
            return Err(wrong(message));
        }
        let expected = expected.map(|_| draft.digest);
        let text = version_text(&name, VersionId::Latest);
        let guard = self.plane().stated(revision_id.as_deref(), &text, seen.revision_of(&text))?;
        let description = description.filter(|text| !text.is_empty());
        let edit = FunctionEdit::Publish { from: None, label: None, description, expected };
        let edits = vec![Edit::Function(name.clone(), edit)];
        let (number, seen) = self.plane().publish(&self.signed.key, edits, guard, &name).await?;
        self.published(&seen, &name, VersionId::Number(number)).await
    }

    async fn published(&self, seen: &Seen, name: &FunctionName, id: VersionId) -> Result<Value, DialectFailure> {
        let found = self.version(seen, name, Some(&Qualifier::Version(id)))?;
        Ok(self.shown(seen, name, found, Some(&id.to_string())).await)
    }

    pub(super) async fn update_code(&self) -> Result<Value, DialectFailure> {
        let name = self.unqualified()?;
        let body: UpdateFunctionCode = read_body(&self.signed.body)?;
        if body.zip_file.is_some() || body.s3_bucket.is_some() {
            let message = "code is not stored here: give the endpoints that run it as ImageUri, HOST:PORT[,HOST:PORT]";
            return Err(wrong(message));
        }
        let endpoints = endpoints(body.image_uri.as_deref().unwrap_or_default())?;
        let text = version_text(&name, VersionId::Latest);
        let (publish, dry_run) = (body.publish.unwrap_or(false), body.dry_run.unwrap_or(false));
        let made = |seen: &Seen, publish: bool| -> Result<Drafted, DialectFailure> {
            let changed = self.with_endpoints(seen, &name, &endpoints)?;
            let guard = self.plane().stated(body.revision_id.as_deref(), &text, seen.revision_of(&text))?;
            let mut edits = vec![Edit::Function(name.clone(), FunctionEdit::Draft(Some(changed.into())))];
            if publish {
                let edit = FunctionEdit::Publish { from: None, label: None, description: None, expected: None };
                edits.push(Edit::Function(name.clone(), edit));
            }
            Ok(Drafted { edits, is_stated: guard.is_some(), guard })
        };
        if dry_run {
            let draft = made(&self.plane().seen(), false)?;
            let seen = self.plane().try_out(&self.signed.key, draft).await?;
            let found = self.version(&seen, &name, None)?;
            return Ok(self.shown(&seen, &name, found, None).await);
        }
        if publish {
            let Drafted { edits, guard, .. } = made(&self.plane().seen(), true)?;
            let draft_alone = edits[..1].to_vec();
            let (number, seen) = self.plane().publish(&self.signed.key, edits, guard, &name).await?;
            // What changes nothing is not published, and the draft is written all the same: its text may differ where its digest does not.
            let is_written =
                draft(&seen, &name).is_ok_and(|now| image_uri(now).as_deref() == Some(&endpoints.join(",")));
            if !is_written {
                let again = |_: &Seen| -> Result<Drafted, DialectFailure> {
                    Ok(Drafted { edits: draft_alone.clone(), guard: None, is_stated: true })
                };
                self.plane().change(&self.signed.key, again).await?;
            }
            return self.published(&seen, &name, VersionId::Number(number)).await;
        }
        let (_, seen) = self.plane().change(&self.signed.key, |seen| made(seen, false)).await?;
        let found = self.version(&seen, &name, None)?;
        Ok(self.shown(&seen, &name, found, None).await)
    }

    /// The draft as it would be with other endpoints; one that is not there yet has nothing else.
    fn with_endpoints(
        &self,
        seen: &Seen,
        name: &FunctionName,
        endpoints: &[String],
    ) -> Result<Version, DialectFailure> {
        let function = seen.function(name)?;
        let mut fields = match function.draft.as_deref() {
            Some(draft) => form::draft(draft),
            None => json!({}),
        };
        if let Some(fields) = fields.as_object_mut() {
            fields.remove("digest");
            fields.remove("response");
            fields.insert("endpoints".to_owned(), json!(endpoints));
        }
        let path = format!("functions.{name}.draft");
        let read = parse::parse_draft(&path, &fields.to_string(), &*self.plane().environment);
        read.map(|(draft, _)| draft).map_err(|problems| {
            let told = problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ");
            wrong(format!("ImageUri: {told}; write HOST:PORT[,HOST:PORT]"))
        })
    }

    pub(super) async fn delete_version(&self) -> Result<(), DialectFailure> {
        let number = match self.named()? {
            (name, Some(Qualifier::Version(VersionId::Number(number)))) => (name, number),
            (_, Some(other)) => {
                return Err(wrong(format!("a version is deleted by its number, and `{other}` is none")));
            }
            (name, None) => {
                let message = format!("a whole function is deleted natively alone: `weir functions delete {name}`");
                return Err(DialectFailure::new(FailureKind::Unsupported, message));
            }
        };
        let (name, number) = number;
        let delete = |seen: &Seen| -> Result<Drafted, DialectFailure> {
            if !seen.function(&name)?.versions.contains_key(&number) {
                let message = format!("Function not found: {name}:{number}");
                return Err(DialectFailure::new(FailureKind::NoVersion, message));
            }
            let edits = vec![Edit::Function(name.clone(), FunctionEdit::Version(number, None))];
            Ok(Drafted { edits, guard: None, is_stated: false })
        };
        self.plane().change(&self.signed.key, delete).await.map(drop)
    }
}

/// The draft, if there is one, and then every version by number.
fn versions(function: &Function) -> Vec<(VersionId, &Version)> {
    let draft = function.draft.iter().map(|draft| (VersionId::Latest, &**draft));
    let numbered = function.versions.iter().map(|(number, version)| (VersionId::Number(*number), &**version));
    draft.chain(numbered).collect()
}

fn draft<'s>(seen: &'s Seen, name: &FunctionName) -> Result<&'s Version, DialectFailure> {
    let missing = || {
        let message =
            format!("`{name}` has no $LATEST: set its endpoints first, by UpdateFunctionCode or `weir draft set`");
        DialectFailure::new(FailureKind::NoVersion, message)
    };
    seen.function(name)?.draft.as_deref().ok_or_else(missing)
}

/// The endpoints of `HOST:PORT,HOST:PORT`.
fn endpoints(uri: &str) -> Result<Vec<String>, DialectFailure> {
    let hint = "write the endpoints as HOST:PORT[,HOST:PORT]; `aws` fetches what begins with http://";
    if uri.trim().is_empty() {
        return Err(wrong(format!("ImageUri is missing: {hint}")));
    }
    let endpoints: Vec<String> = uri.split(',').map(|part| part.trim().to_owned()).collect();
    // Names of the environment are for those who may see it.
    if let Some(bad) = endpoints.iter().find(|part| part.is_empty() || part.contains(['/', '$', '@', ' '])) {
        return Err(wrong(format!("ImageUri: `{bad}` is no endpoint: {hint}")));
    }
    Ok(endpoints)
}

/// A page with the marker of the next one.
pub(super) fn with_marker(mut body: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        body["NextMarker"] = next.into();
    }
    body
}
