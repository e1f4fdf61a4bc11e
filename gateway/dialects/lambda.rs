//! AWS Lambda: REST with JSON.
//!
//! - `aliases`, `versions`: what is managed
//! - `invocation`: what is invoked

mod aliases;
mod invocation;
mod versions;

use std::num::NonZeroU32;

use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use config::dialect::arn::{ArnPlace, read_qualifier};
use config::dialect::failure::{DialectFailure, FailureKind};
use config::dialect::lambda::{PAGE, PREFIX, ShownVersion, error_body, function_configuration, status_and_code};
use config::dialect::main_split::MainSplit;
use config::model::Version;
use config::value::name::{FunctionName, Qualifier, VersionId};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::Desk;
use super::plane::{Plane, Seen, version_text};
use super::received::{Carried, Right, Signed, of_type};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The operations that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LambdaOperation {
    ListFunctions,
    GetFunction,
    GetFunctionConfiguration,
    UpdateFunctionCode,
    DeleteFunction,
    PublishVersion,
    ListVersionsByFunction,
    CreateAlias,
    GetAlias,
    UpdateAlias,
    DeleteAlias,
    ListAliases,
    Invoke,
}

/// The operation of a request; `None` if it is not served.
pub(super) fn operation(method: &Method, path: &str) -> Option<LambdaOperation> {
    let below: Vec<&str> = path.strip_prefix(PREFIX)?.split('/').collect();
    Some(match (method.as_str(), &below[..]) {
        ("GET", ["functions"] | ["functions", ""]) => LambdaOperation::ListFunctions,
        ("GET", ["functions", _]) => LambdaOperation::GetFunction,
        ("DELETE", ["functions", _]) => LambdaOperation::DeleteFunction,
        ("GET", ["functions", _, "configuration"]) => LambdaOperation::GetFunctionConfiguration,
        ("PUT", ["functions", _, "code"]) => LambdaOperation::UpdateFunctionCode,
        ("POST", ["functions", _, "versions"]) => LambdaOperation::PublishVersion,
        ("GET", ["functions", _, "versions"]) => LambdaOperation::ListVersionsByFunction,
        ("POST", ["functions", _, "aliases"]) => LambdaOperation::CreateAlias,
        ("GET", ["functions", _, "aliases"]) => LambdaOperation::ListAliases,
        ("GET", ["functions", _, "aliases", _]) => LambdaOperation::GetAlias,
        ("PUT", ["functions", _, "aliases", _]) => LambdaOperation::UpdateAlias,
        ("DELETE", ["functions", _, "aliases", _]) => LambdaOperation::DeleteAlias,
        ("POST", ["functions", _, "invocations"]) => LambdaOperation::Invoke,
        _ => return None,
    })
}

impl LambdaOperation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ListFunctions => "ListFunctions",
            Self::GetFunction => "GetFunction",
            Self::GetFunctionConfiguration => "GetFunctionConfiguration",
            Self::UpdateFunctionCode => "UpdateFunctionCode",
            Self::DeleteFunction => "DeleteFunction",
            Self::PublishVersion => "PublishVersion",
            Self::ListVersionsByFunction => "ListVersionsByFunction",
            Self::CreateAlias => "CreateAlias",
            Self::GetAlias => "GetAlias",
            Self::UpdateAlias => "UpdateAlias",
            Self::DeleteAlias => "DeleteAlias",
            Self::ListAliases => "ListAliases",
            Self::Invoke => "Invoke",
        }
    }

    pub(super) fn right(self) -> Right {
        match self {
            Self::Invoke => Right::Invoke,
            Self::ListFunctions
            | Self::GetFunction
            | Self::GetFunctionConfiguration
            | Self::ListVersionsByFunction
            | Self::GetAlias
            | Self::ListAliases => Right::Read,
            Self::UpdateFunctionCode
            | Self::DeleteFunction
            | Self::PublishVersion
            | Self::CreateAlias
            | Self::UpdateAlias
            | Self::DeleteAlias => Right::Change,
        }
    }
}

/// One request, with what its path and query name.
struct LambdaRequest<'r> {
    desk: &'r Desk,
    signed: &'r Signed,
    place: ArnPlace<'r>,
    /// Percent-decoded segments behind the prefix.
    segments: Vec<String>,
    /// Decoded pairs.
    query: Vec<(String, String)>,
}

/// Carries out one operation.
pub(super) async fn carried_out(
    desk: &Desk,
    operation: LambdaOperation,
    signed: &Signed,
) -> Result<Carried, DialectFailure> {
    let uri = &signed.parts.uri;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let below = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let request = LambdaRequest {
        desk,
        signed,
        place: ArnPlace { region: &signed.region, account: &desk.plane.account },
        segments: below.split('/').map(decoded).collect(),
        query: pairs.map(|(name, value)| (decoded(name), decoded(&value.replace('+', " ")))).collect(),
    };
    let (status, body) = match operation {
        LambdaOperation::Invoke => return request.invoke().await,
        LambdaOperation::ListFunctions => (200, Some(request.list_functions().await?)),
        LambdaOperation::GetFunction => (200, Some(request.function().await?)),
        LambdaOperation::GetFunctionConfiguration => (200, Some(request.configuration().await?)),
        LambdaOperation::UpdateFunctionCode => (200, Some(request.update_code().await?)),
        LambdaOperation::DeleteFunction => {
            request.delete_version().await?;
            (204, None)
        }
        LambdaOperation::PublishVersion => (201, Some(request.publish().await?)),
        LambdaOperation::ListVersionsByFunction => (200, Some(request.list_versions().await?)),
        LambdaOperation::CreateAlias => (201, Some(request.create_alias().await?)),
        LambdaOperation::GetAlias => (200, Some(request.alias()?)),
        LambdaOperation::UpdateAlias => (200, Some(request.update_alias().await?)),
        LambdaOperation::DeleteAlias => {
            request.delete_alias().await?;
            (204, None)
        }
        LambdaOperation::ListAliases => (200, Some(request.list_aliases()?)),
    };
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    Ok(with_id(of_type(status, "application/json", body), &signed.id).into())
}

/// The answer to a failure.
pub(super) fn told(failure: &DialectFailure, id: &str) -> Response {
    let (status, code) = status_and_code(failure.kind);
    let mut response = of_type(status, "application/json", error_body(failure).to_string());
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(code));
    with_id(response, id)
}

fn with_id(mut response: Response, id: &str) -> Response {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn wrong(message: impl Into<String>) -> DialectFailure {
    DialectFailure::new(FailureKind::WrongParameter, message)
}

impl LambdaRequest<'_> {
    fn plane(&self) -> &Plane {
        &self.desk.plane
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    /// The function that the path names, and the qualifier that path or query names.
    fn named(&self) -> Result<(FunctionName, Option<Qualifier>), DialectFailure> {
        let named = self.place.read(self.segments.get(1).map(String::as_str).unwrap_or_default())?;
        let asked = self.parameter("Qualifier").map(read_qualifier).transpose()?;
        match (named.qualifier, asked) {
            (Some(one), Some(other)) if one != other => {
                Err(wrong(format!("the name of the function ends in `{one}`, and Qualifier is `{other}`")))
            }
            (one, other) => Ok((named.name, other.or(one))),
        }
    }

    /// The function alone: a qualifier means nothing here.
    fn unqualified(&self) -> Result<FunctionName, DialectFailure> {
        match self.named()? {
            (name, None) => Ok(name),
            (_, Some(qualifier)) => {
                Err(wrong(format!("the function is named without a qualifier here, and has `{qualifier}`")))
            }
        }
    }

    /// The most items of a page.
    fn page(&self) -> Result<usize, DialectFailure> {
        let Some(text) = self.parameter("MaxItems") else { return Ok(PAGE) };
        match text.parse::<usize>() {
            Ok(most @ 1..=10_000) => Ok(most.min(PAGE)),
            _ => Err(wrong(format!("MaxItems is `{text}`, and may be 1 to 10000"))),
        }
    }

    /// The page that begins behind the marker; the marker of the next one.
    fn paged<T>(&self, items: impl Iterator<Item = (String, T)>) -> Result<(Vec<T>, Option<String>), DialectFailure> {
        let most = self.page()?;
        let mut items = items.peekable();
        if let Some(marker) = self.parameter("Marker") {
            while items.next_if(|(name, _)| name != marker).is_some() {}
            if items.next().is_none() {
                return Err(wrong("the Marker is of no list, or what it names is gone: begin again without it"));
            }
        }
        let mut last = None;
        let mut page = Vec::new();
        for (name, item) in items.by_ref().take(most) {
            last = Some(name);
            page.push(item);
        }
        Ok((page, last.filter(|_| items.peek().is_some())))
    }

    /// The body of one version.
    async fn shown(
        &self,
        seen: &Seen,
        function: &FunctionName,
        (id, version): (VersionId, &Version),
        qualifier: Option<&str>,
    ) -> Value {
        let text = version_text(function, id);
        let revision = seen.revision_of(&text);
        let time = self.plane().time_of(revision).await;
        let shown = ShownVersion {
            function,
            id,
            qualifier,
            version,
            revision_id: &self.plane().id_of(&text, revision),
            last_modified: &time.replace('Z', "+0000"),
        };
        function_configuration(self.place, &shown)
    }

    /// The version that a qualifier means: of an alias its main version. Unqualified it is the draft; of a function without one,
    /// its newest version.
    fn version<'s>(
        &self,
        seen: &'s Seen,
        function: &FunctionName,
        qualifier: Option<&Qualifier>,
    ) -> Result<(VersionId, &'s Version), DialectFailure> {
        let model = seen.function(function)?;
        let newest = || model.versions.keys().next_back().map(|number: &NonZeroU32| VersionId::Number(*number));
        let id = match qualifier {
            Some(Qualifier::Version(id)) => *id,
            Some(Qualifier::Alias(alias)) => MainSplit::of(&*seen.alias(function, alias)?).main,
            None if model.draft.is_some() => VersionId::Latest,
            None => newest().ok_or_else(|| {
                DialectFailure::new(FailureKind::NoVersion, format!("`{function}` has neither a draft nor a version"))
            })?,
        };
        let missing = || DialectFailure::new(FailureKind::NoVersion, format!("Function not found: {function}:{id}"));
        Ok((id, model.version(id).ok_or_else(missing)?))
    }
}
