//! AWS Lambda: the bodies of its operations, and the codes and statuses of its errors.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dialect::arn::ArnPlace;
use crate::dialect::failure::{DialectFailure, FailureKind};
use crate::dialect::main_split::{MainSplit, MainSplitError};
use crate::dialect::weights::{decimal_of, weight_of};
use crate::model::{Alias, Endpoint, Target, Version};
use crate::value::name::{AliasName, FunctionName, VersionId};

/// The path below which the operations of this cut are.
pub const PREFIX: &str = "/2015-03-31/";
/// The most items of a page, whatever is asked for.
pub const PAGE: usize = 50;

/// The body of PublishVersion.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublishVersion {
    /// The digest that the draft must have, in base64.
    pub code_sha256: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The revision that the draft must be at.
    pub revision_id: Option<String>,
}

/// The body of CreateAlias.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateAlias {
    /// Its name.
    pub name: String,
    /// The main version.
    pub function_version: String,
    /// For people.
    pub description: Option<String>,
    /// The additional versions.
    pub routing_config: Option<RoutingConfig>,
}

/// The body of UpdateAlias.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateAlias {
    /// The main version; absent, it stays.
    pub function_version: Option<String>,
    /// For people; absent, it stays.
    pub description: Option<String>,
    /// The additional versions; absent, they stay, and an empty one has none.
    pub routing_config: Option<RoutingConfig>,
    /// The revision that the alias must be at.
    pub revision_id: Option<String>,
}

/// Additional versions and their weights.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoutingConfig {
    /// By number.
    pub additional_version_weights: Option<BTreeMap<String, f64>>,
}

/// The body of UpdateFunctionCode, as far as it means something here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateFunctionCode {
    /// Endpoints: `HOST:PORT`, several with commas between.
    pub image_uri: Option<String>,
    /// Not taken.
    pub zip_file: Option<String>,
    /// Not taken.
    #[serde(rename = "S3Bucket")]
    pub s3_bucket: Option<String>,
    /// True if the draft is published then.
    #[serde(default)]
    pub publish: Option<bool>,
    /// True if nothing is changed.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// The revision that the draft must be at.
    pub revision_id: Option<String>,
}

/// Reads a body; an empty one is an empty object.
///
/// # Errors
/// It is not JSON, or of another form.
pub fn read_body<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, DialectFailure> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| DialectFailure::new(FailureKind::WrongBody, format!("the body cannot be read: {error}")))
}

/// A version as AWS writes it in bodies.
///
/// # Errors
/// It is neither `$LATEST` nor a number.
pub fn read_version(text: &str) -> Result<VersionId, DialectFailure> {
    let wrong = |error| DialectFailure::new(FailureKind::WrongParameter, format!("the version `{text}`: {error}"));
    text.parse().map_err(wrong)
}

impl RoutingConfig {
    /// The split with this main version.
    ///
    /// # Errors
    /// Two additional versions, `$LATEST` with weights, a weight that is none.
    pub fn with(&self, main: VersionId) -> Result<MainSplit, DialectFailure> {
        let nothing = BTreeMap::new();
        let weights = self.additional_version_weights.as_ref().unwrap_or(&nothing);
        let wrong = |message: String| DialectFailure::new(FailureKind::WrongWeights, message);
        if weights.len() > 1 {
            return Err(wrong(format!(
                "AdditionalVersionWeights names {} versions, and may name one; more are given natively: `weir shift`",
                weights.len()
            )));
        }
        let mut additional = Vec::new();
        for (version, weight) in weights {
            let VersionId::Number(number) = read_version(version)? else {
                return Err(wrong("$LATEST has no weight: publish it, and name its number".to_owned()));
            };
            if main == VersionId::Latest {
                return Err(wrong("$LATEST is the main version, so no other one has a weight".to_owned()));
            }
            additional.push((VersionId::Number(number), weight_of(*weight).map_err(|error| wrong(error.to_string()))?));
        }
        let split = MainSplit { main, additional };
        split.split().map_err(wrong_split)?;
        Ok(split)
    }
}

/// A split that is none, as this dialect says it.
#[must_use]
pub fn wrong_split(error: MainSplitError) -> DialectFailure {
    DialectFailure::new(FailureKind::WrongWeights, error.to_string())
}

impl UpdateAlias {
    /// The split of an alias after this; `None` if it stays as it is.
    ///
    /// # Errors
    /// Why it is none. Weights that are kept and do not fit the new main version are not dropped.
    pub fn split(&self, now: &Alias) -> Result<Option<MainSplit>, DialectFailure> {
        let main = self.function_version.as_deref().map(read_version).transpose()?;
        match (&self.routing_config, main) {
            (None, None) => Ok(None),
            (Some(routing), main) => routing.with(main.unwrap_or_else(|| MainSplit::of(now).main)).map(Some),
            (None, Some(main)) => {
                let kept = MainSplit::of(now).moved_to(main).map_err(|error| {
                    let hint = "RoutingConfig is absent, so its weights stay; an empty one clears them";
                    DialectFailure::new(FailureKind::WrongWeights, format!("{error}; {hint}"))
                })?;
                if main == VersionId::Latest && !kept.additional.is_empty() {
                    let message =
                        "$LATEST cannot be the main version beside weights, and RoutingConfig is absent, so they stay";
                    return Err(DialectFailure::new(FailureKind::WrongWeights, message));
                }
                Ok(Some(kept))
            }
        }
    }
}

/// One alias as its body tells it.
#[derive(Debug, Clone, Copy)]
pub struct ShownAlias<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// Its name.
    pub name: &'a AliasName,
    /// As requests see it.
    pub alias: &'a Alias,
    /// Its revision.
    pub revision_id: &'a str,
}

/// The body `AliasConfiguration`. Without additional versions it has no `RoutingConfig`.
#[must_use]
pub fn alias_configuration(place: ArnPlace<'_>, shown: &ShownAlias<'_>) -> Value {
    let split = MainSplit::of(shown.alias);
    let mut body = json!({
        "AliasArn": place.function(shown.function, Some(shown.name.as_str())),
        "Name": shown.name.as_str(),
        "FunctionVersion": split.main.to_string(),
        "Description": shown.alias.description.as_deref().unwrap_or_default(),
        "RevisionId": shown.revision_id,
    });
    if !split.additional.is_empty() {
        let weights: BTreeMap<String, f64> =
            split.additional.iter().map(|(version, weight)| (version.to_string(), decimal_of(*weight))).collect();
        body["RoutingConfig"] = json!({ "AdditionalVersionWeights": weights });
    }
    body
}

/// One version as its body tells it.
#[derive(Debug, Clone, Copy)]
pub struct ShownVersion<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// `$LATEST` or a number.
    pub id: VersionId,
    /// The end of its ARN, where it has one: the version, or the alias that was asked for.
    pub qualifier: Option<&'a str>,
    /// What it is.
    pub version: &'a Version,
    /// Its revision.
    pub revision_id: &'a str,
    /// When it was published, or the draft changed last: `2026-11-20T15:00:00.000+0000`.
    pub last_modified: &'a str,
}

/// The body `FunctionConfiguration`. What has no meaning here has the value that clients expect least of: always active, and
/// updated.
#[must_use]
pub fn function_configuration(place: ArnPlace<'_>, shown: &ShownVersion<'_>) -> Value {
    let id = shown.id.to_string();
    let timeout = match &shown.version.target {
        Target::Upstream(upstream) => upstream.timeouts.response.as_secs().max(1),
        Target::Response(_) => 1,
    };
    json!({
        "FunctionName": shown.function.as_str(),
        "FunctionArn": place.function(shown.function, shown.qualifier),
        "Version": id,
        "CodeSha256": code_sha256(shown.version),
        "CodeSize": 0,
        "Description": shown.version.description.as_deref().unwrap_or_default(),
        "LastModified": shown.last_modified,
        "RevisionId": shown.revision_id,
        "Role": format!("arn:aws:iam::{}:role/none", place.account),
        "Runtime": "provided.al2",
        "Handler": "http",
        "Timeout": timeout,
        "MemorySize": 128,
        "PackageType": "Image",
        "Architectures": ["x86_64"],
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "TracingConfig": { "Mode": "PassThrough" },
    })
}

/// The digest of a version as this dialect writes it.
#[must_use]
pub fn code_sha256(version: &Version) -> String {
    STANDARD.encode(version.digest.as_bytes())
}

/// The endpoints of a version as `ImageUri`; `None` where the gateway itself answers.
#[must_use]
pub fn image_uri(version: &Version) -> Option<String> {
    let Target::Upstream(upstream) = &version.target else { return None };
    let endpoint = |endpoint: &Endpoint| match endpoint.host.source() {
        host if host.contains(':') && !host.contains("${") => format!("[{host}]:{}", endpoint.port),
        host => format!("{host}:{}", endpoint.port),
    };
    Some(upstream.endpoints.iter().map(endpoint).collect::<Vec<_>>().join(","))
}

/// The status of a failure, and its code.
#[must_use]
pub fn status_and_code(kind: FailureKind) -> (u16, &'static str) {
    match kind {
        FailureKind::Unsigned => (403, "MissingAuthenticationTokenException"),
        FailureKind::UnknownForm => (403, "IncompleteSignatureException"),
        FailureKind::UnknownKey | FailureKind::SessionToken => (403, "UnrecognizedClientException"),
        FailureKind::WrongSignature | FailureKind::SkewedTime => (403, "InvalidSignatureException"),
        FailureKind::Forbidden => (403, "AccessDeniedException"),
        FailureKind::NoFunction | FailureKind::NoVersion | FailureKind::NoAlias | FailureKind::NoQualifier => {
            (404, "ResourceNotFoundException")
        }
        FailureKind::AliasExists | FailureKind::InUse => (409, "ResourceConflictException"),
        FailureKind::WrongName
        | FailureKind::WrongWeights
        | FailureKind::WrongRouting
        | FailureKind::WrongQualifier
        | FailureKind::WrongParameter => (400, "InvalidParameterValueException"),
        FailureKind::WrongBody => (400, "InvalidRequestContentException"),
        FailureKind::Precondition => (412, "PreconditionFailedException"),
        FailureKind::TooLarge => (413, "RequestTooLargeException"),
        FailureKind::TooMany => (429, "TooManyRequestsException"),
        FailureKind::NotSent => (502, "ServiceException"),
        FailureKind::Unavailable => (503, "ServiceException"),
        FailureKind::Unsupported => (501, "NotImplementedException"),
    }
}

/// The body of an error: both spellings of its message, because clients read either.
#[must_use]
pub fn error_body(failure: &DialectFailure) -> Value {
    let (status, code) = status_and_code(failure.kind);
    let kind = if status < 500 { "User" } else { "Service" };
    json!({ "__type": code, "Type": kind, "Message": failure.message, "message": failure.message })
}

#[cfg(test)]
mod tests;
