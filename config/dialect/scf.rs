//! Tencent SCF: the bodies of its actions, and the codes of its errors.

use std::fmt;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::dialect::failure::{DialectFailure, FailureKind};
use crate::dialect::main_split::MainSplit;
use crate::dialect::weights::{decimal_of, weight_of};
use crate::model::{Alias, Rule};
use crate::value::name::{AliasName, Qualifier, VersionId};
use crate::value::rule::{Condition, Subject, Test, When};

/// The only namespace.
pub const NAMESPACE: &str = "default";
/// The version of the API.
pub const API_VERSION: &str = "2018-04-16";
/// Items of a list that asks for no number.
pub const LIMIT: usize = 20;

/// The parameters of every action that this dialect knows; each reads those that it takes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Parameters {
    /// The function.
    pub function_name: Option<String>,
    /// Of an alias.
    pub name: Option<String>,
    /// A version.
    pub function_version: Option<String>,
    /// `default`.
    pub namespace: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The additional versions of an alias.
    pub routing_config: Option<ScfRouting>,
    /// The version or alias to invoke, or to look at.
    pub qualifier: Option<String>,
    /// `RequestResponse` or `Event`.
    pub invocation_type: Option<String>,
    /// The event, of Invoke.
    pub client_context: Option<String>,
    /// The event, of InvokeFunction.
    pub event: Option<String>,
    /// `None` or `Tail`.
    pub log_type: Option<String>,
    /// A JSON object of texts.
    pub routing_key: Option<String>,
    /// Items to leave out at the start. Sent as text by some clients.
    #[serde(deserialize_with = "number_or_text")]
    pub offset: Option<usize>,
    /// Items of a page.
    #[serde(deserialize_with = "number_or_text")]
    pub limit: Option<usize>,
    /// A part of the name.
    pub search_key: Option<String>,
}

/// Additional versions: by weight, or by matches.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScfRouting {
    /// By weight.
    pub additional_version_weights: Option<Vec<ScfWeight>>,
    /// By rules; the spelling is the API's.
    #[serde(rename = "AddtionVersionMatchs")]
    pub addtion_version_matchs: Option<Vec<ScfMatch>>,
}

/// A version and its weight.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScfWeight {
    /// `$LATEST` or a number.
    pub version: String,
    /// 0 to 1.
    pub weight: f64,
}

/// A rule: requests that fit go to the version.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScfMatch {
    /// `$LATEST` or a number.
    pub version: String,
    /// `invoke.headers.NAME`.
    pub key: String,
    /// `exact` or `range`.
    pub method: String,
    /// A text, or an interval.
    pub expression: String,
}

/// The routing of an alias as this dialect writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenRouting {
    /// The split.
    pub split: MainSplit,
    /// The rules of its text form.
    pub rules: Vec<Rule>,
}

fn number_or_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    struct Either;
    impl<'de> Visitor<'de> for Either {
        type Value = Option<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, or its digits as text")
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
            usize::try_from(number).map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.parse().map(Some).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
            from.deserialize_any(self)
        }
    }
    from.deserialize_any(Either)
}

/// Reads the parameters of an action.
///
/// # Errors
/// They are not JSON, or of another form.
pub fn read_parameters(body: &[u8]) -> Result<Parameters, DialectFailure> {
    let parameters: Parameters = serde_json::from_slice(body)
        .map_err(|error| DialectFailure::new(FailureKind::WrongBody, format!("the body cannot be read: {error}")))?;
    match parameters.namespace.as_deref() {
        None | Some("" | NAMESPACE) => Ok(parameters),
        Some(other) => {
            let message = format!("there is one namespace here, `{NAMESPACE}`, and `{other}` is not it");
            Err(DialectFailure::new(FailureKind::NoFunction, message))
        }
    }
}

/// A parameter that has to be there.
///
/// # Errors
/// It is not.
pub fn needed<'p>(parameter: Option<&'p String>, name: &str) -> Result<&'p str, DialectFailure> {
    let missing = || DialectFailure::new(FailureKind::WrongParameter, format!("`{name}` is missing"));
    parameter.map(String::as_str).filter(|text| !text.is_empty()).ok_or_else(missing)
}

/// A version as bodies write it.
///
/// # Errors
/// It is neither `$LATEST` nor a number.
pub fn read_version(text: &str) -> Result<VersionId, DialectFailure> {
    text.parse()
        .map_err(|error| DialectFailure::new(FailureKind::WrongParameter, format!("the version `{text}`: {error}")))
}

/// A qualifier; without one it is `$DEFAULT`.
///
/// # Errors
/// A text that is none.
pub fn read_qualifier(text: Option<&str>) -> Result<Qualifier, DialectFailure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(Qualifier::Alias(AliasName::default_alias()));
    };
    text.parse()
        .map_err(|error| DialectFailure::new(FailureKind::WrongQualifier, format!("the qualifier `{text}`: {error}")))
}

impl ScfRouting {
    /// The routing with this main version. Without weights and matches the main version has everything.
    ///
    /// # Errors
    /// Both weights and matches; two additional weights; what is no weight or rule.
    pub fn with(&self, main: VersionId) -> Result<WrittenRouting, DialectFailure> {
        let weights = self.additional_version_weights.as_deref().unwrap_or_default();
        let matches = self.addtion_version_matchs.as_deref().unwrap_or_default();
        if !weights.is_empty() && !matches.is_empty() {
            let message = "AdditionalVersionWeights and AddtionVersionMatchs cannot be set together; natively both can: \
                           `split` and `rules` of the alias";
            return Err(DialectFailure::new(FailureKind::WrongRouting, message));
        }
        let wrong = |message: String| DialectFailure::new(FailureKind::WrongWeights, message);
        if weights.len() > 1 {
            let message = format!("AdditionalVersionWeights names {} versions, and may name one", weights.len());
            return Err(wrong(message));
        }
        let mut split = MainSplit::whole(main);
        for ScfWeight { version, weight } in weights {
            let weight = weight_of(*weight).map_err(|error| wrong(error.to_string()))?;
            split.additional.push((read_version(version)?, weight));
        }
        split.split().map_err(|error| wrong(error.to_string()))?;
        let rules = matches.iter().map(ScfMatch::rule).collect::<Result<_, _>>()?;
        Ok(WrittenRouting { split, rules })
    }
}

impl ScfMatch {
    fn rule(&self) -> Result<Rule, DialectFailure> {
        let text = format!("{} {} {}", self.key.trim(), self.method.trim(), self.expression);
        let when = text
            .parse::<When>()
            .map_err(|error| DialectFailure::new(FailureKind::WrongRouting, format!("the match `{text}`: {error}")))?;
        Ok(Rule { when, version: read_version(&self.version)? })
    }
}

/// The key, method and expression of a rule of this dialect's form; `None` for any other.
fn match_of(rule: &Rule) -> Option<(String, &'static str, String)> {
    let [Condition { subject: Subject::Header(name), test }] = &*rule.when.conditions else { return None };
    let key = format!("invoke.headers.{name}");
    match test {
        Test::Exact(value) => Some((key, "exact", value.clone())),
        Test::Range(interval) => Some((key, "range", interval.to_string())),
        _ => None,
    }
}

/// The rules of an alias with these in the place of those of this dialect's form. Others stay, in their order.
#[must_use]
pub fn replaced_rules(now: &[Rule], written: Vec<Rule>) -> Vec<Rule> {
    let at = now.iter().position(|rule| match_of(rule).is_some()).unwrap_or(now.len());
    let other = |rule: &&Rule| match_of(rule).is_none();
    let (before, after) = now.split_at(at);
    before.iter().filter(other).cloned().chain(written).chain(after.iter().filter(other).cloned()).collect()
}

/// The fields of an alias, as requests see it. Times are added by whoever knows them.
#[must_use]
pub fn shown_alias(name: &AliasName, alias: &Alias) -> Value {
    let split = MainSplit::of(alias);
    let weights = split.additional.iter();
    let weights: Vec<Value> = weights
        .map(|(version, weight)| json!({ "Version": version.to_string(), "Weight": decimal_of(*weight) }))
        .collect();
    let rules = alias.rules.iter().filter_map(|rule| Some((rule, match_of(rule)?)));
    let matches: Vec<Value> = rules
        .map(|(rule, (key, method, expression))| {
            json!({ "Version": rule.version.to_string(), "Key": key, "Method": method, "Expression": expression })
        })
        .collect();
    json!({
        "Name": name.as_str(),
        "FunctionVersion": split.main.to_string(),
        "Description": alias.description.as_deref().unwrap_or_default(),
        "RoutingConfig": { "AdditionalVersionWeights": weights, "AddtionVersionMatchs": matches },
    })
}

/// The code of a failure.
#[must_use]
pub fn code(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Unsigned | FailureKind::UnknownForm | FailureKind::WrongSignature => {
            "AuthFailure.SignatureFailure"
        }
        FailureKind::UnknownKey => "AuthFailure.SecretIdNotFound",
        FailureKind::SkewedTime => "AuthFailure.SignatureExpire",
        FailureKind::SessionToken => "AuthFailure.TokenFailure",
        FailureKind::Forbidden => "AuthFailure.UnauthorizedOperation",
        FailureKind::NoFunction => "ResourceNotFound.Function",
        FailureKind::NoVersion => "ResourceNotFound.FunctionVersion",
        FailureKind::NoAlias => "ResourceNotFound.Alias",
        FailureKind::NoQualifier => "ResourceNotFound.Qualifier",
        FailureKind::AliasExists => "ResourceInUse.Alias",
        FailureKind::InUse => "FailedOperation.OperationConflict",
        FailureKind::WrongName => "InvalidParameterValue.Name",
        FailureKind::WrongWeights => "InvalidParameterValue.AdditionalVersionWeights",
        FailureKind::WrongRouting => "InvalidParameterValue.RoutingConfig",
        FailureKind::WrongQualifier => "InvalidParameterValue.Qualifier",
        FailureKind::WrongParameter => "InvalidParameterValue",
        FailureKind::WrongBody => "InvalidParameter.Payload",
        FailureKind::Precondition => "FailedOperation.OperationConflict",
        FailureKind::TooLarge => "RequestSizeLimitExceeded",
        FailureKind::TooMany => "RequestLimitExceeded",
        FailureKind::NotSent | FailureKind::Unavailable => "InternalError",
        FailureKind::Unsupported => "UnsupportedOperation",
    }
}

/// The whole body of an answer with these fields.
#[must_use]
pub fn answer_body(mut fields: Map<String, Value>, request_id: &str) -> Value {
    fields.insert("RequestId".to_owned(), request_id.into());
    json!({ "Response": fields })
}

/// The whole body of an error.
#[must_use]
pub fn error_body(failure: &DialectFailure, request_id: &str) -> Value {
    let error = json!({ "Code": code(failure.kind), "Message": failure.message });
    answer_body(Map::from_iter([("Error".to_owned(), error)]), request_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::weight::Split;

    fn parameters(text: &str) -> Result<Parameters, DialectFailure> {
        read_parameters(text.as_bytes())
    }

    fn routing(main: &str, text: &str) -> Result<WrittenRouting, DialectFailure> {
        let routing: ScfRouting = serde_json::from_str(text).unwrap();
        routing.with(main.parse().unwrap())
    }

    /// As tencentcloud-sdk-python-scf 3.1.100 writes it.
    const UPDATE: &str = r#"{"Name": "prod", "FunctionName": "shop", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": [{"Version": "2", "Weight": 0.05}]}, "Namespace": "default"}"#;

    #[test]
    fn the_requests_of_the_client_are_read() {
        let update = parameters(UPDATE).unwrap();
        assert_eq!((update.name.as_deref(), update.function_name.as_deref()), (Some("prod"), Some("shop")));
        let written = update.routing_config.unwrap().with("1".parse().unwrap()).unwrap();
        assert_eq!(written.split.split().unwrap().to_string(), "1: 95, 2: 5");
        let list = parameters(r#"{"FunctionName": "shop", "Offset": "0", "Limit": "20"}"#).unwrap();
        assert_eq!((list.offset, list.limit), (Some(0), Some(20)), "ListAliases sends text");
        let list = parameters(r#"{"FunctionName": "shop", "Offset": 1, "Limit": null}"#).unwrap();
        assert_eq!((list.offset, list.limit), (Some(1), None));
        assert_eq!(parameters(r#"{"Offset": "x"}"#).unwrap_err().kind, FailureKind::WrongBody);
        assert_eq!(parameters(r#"{"Namespace": "test"}"#).unwrap_err().kind, FailureKind::NoFunction);
    }

    #[test]
    fn matches_become_rules_and_come_back() {
        let bob = r#"{"AddtionVersionMatchs": [
            {"Version": "2", "Key": "invoke.headers.User", "Method": "exact", "Expression": "Bob"},
            {"Version": "2", "Key": "invoke.headers.X-Route", "Method": "range", "Expression": "[0,50)"}]}"#;
        let written = routing("1", bob).unwrap();
        assert_eq!(written.split, MainSplit::whole("1".parse().unwrap()));
        let alias = Alias { rules: written.rules, ..written.split.alias().unwrap() };
        assert_eq!(
            shown_alias(&"prod".parse().unwrap(), &alias).to_string(),
            r#"{"Description":"","FunctionVersion":"1","Name":"prod","RoutingConfig":{"AdditionalVersionWeights":[],"AddtionVersionMatchs":[{"Expression":"Bob","Key":"invoke.headers.user","Method":"exact","Version":"2"},{"Expression":"[0,49]","Key":"invoke.headers.x-route","Method":"range","Version":"2"}]}}"#
        );
    }

    #[test]
    fn other_rules_stay_where_they_are() {
        let own = |value: &str| Rule {
            when: format!("invoke.headers.User exact {value}").parse().unwrap(),
            version: VersionId::Latest,
        };
        let other = |path: &str| {
            let conditions = vec![Condition { subject: Subject::Path, test: Test::Exact(path.into()) }];
            Rule { when: When { conditions }, version: VersionId::Latest }
        };
        let now = [other("/a"), own("Ann"), other("/b"), own("Bob")];
        assert_eq!(replaced_rules(&now, vec![own("Eve")]), [other("/a"), own("Eve"), other("/b")]);
        assert_eq!(replaced_rules(&now, vec![]), [other("/a"), other("/b")]);
        assert_eq!(replaced_rules(&[other("/a")], vec![own("Eve")]), [other("/a"), own("Eve")]);
    }

    #[test]
    fn mistakes_have_their_code() {
        for (main, text, code) in [
            (
                "1",
                r#"{"AdditionalVersionWeights": [{"Version": "2", "Weight": 1.5}]}"#,
                "InvalidParameterValue.AdditionalVersionWeights",
            ),
            (
                "1",
                r#"{"AdditionalVersionWeights": [{"Version": "1", "Weight": 0.5}]}"#,
                "InvalidParameterValue.AdditionalVersionWeights",
            ),
            ("1", r#"{"AdditionalVersionWeights": [{"Version": "x", "Weight": 0.5}]}"#, "InvalidParameterValue"),
            (
                "1",
                r#"{"AdditionalVersionWeights": [{"Version": "2", "Weight": 0.5}],
                    "AddtionVersionMatchs": [{"Version": "2", "Key": "invoke.headers.a", "Method": "exact", "Expression": "b"}]}"#,
                "InvalidParameterValue.RoutingConfig",
            ),
            (
                "1",
                r#"{"AddtionVersionMatchs": [{"Version": "2", "Key": "invoke.headers.a", "Method": "range", "Expression": "1-2"}]}"#,
                "InvalidParameterValue.RoutingConfig",
            ),
        ] {
            assert_eq!(super::code(routing(main, text).unwrap_err().kind), code, "{text}");
        }
        let latest = routing("$LATEST", r#"{"AdditionalVersionWeights": [{"Version": "2", "Weight": 0.05}]}"#).unwrap();
        assert_eq!(
            latest.split.split(),
            Ok("$LATEST"
                .parse()
                .map(|latest| {
                    let weight = |parts| crate::value::weight::Weight::new(parts).unwrap();
                    Split::new([(latest, weight(9_500)), ("2".parse().unwrap(), weight(500))]).unwrap()
                })
                .unwrap())
        );
    }

    #[test]
    fn errors_are_answers_with_a_request_id() {
        let failure = DialectFailure::new(FailureKind::NoAlias, "there is no alias `x`");
        assert_eq!(
            error_body(&failure, "id-1").to_string(),
            r#"{"Response":{"Error":{"Code":"ResourceNotFound.Alias","Message":"there is no alias `x`"},"RequestId":"id-1"}}"#
        );
    }
}
