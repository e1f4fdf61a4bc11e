//! Requests as the clients send them, and answers as they read them.

use super::*;
use crate::model::{FixedResponse, Version};
use crate::value::weight::Split;

const PLACE: ArnPlace<'_> = ArnPlace { region: "eu-west-1", account: "000000000000" };

fn update(body: &str, now: &MainSplit) -> Result<Option<MainSplit>, DialectFailure> {
    read_body::<UpdateAlias>(body.as_bytes())?.split(&now.alias().unwrap())
}

fn of(main: &str, additional: &[(&str, u16)]) -> MainSplit {
    let part =
        |(number, parts): &(&str, u16)| (number.parse().unwrap(), crate::value::weight::Weight::new(*parts).unwrap());
    MainSplit { main: main.parse().unwrap(), additional: additional.iter().map(part).collect() }
}

#[test]
fn absent_weights_stay_and_empty_ones_are_cleared() {
    let now = of("1", &[("2", 500)]);
    for (body, expected) in [
        // awscli 1.46.3, boto3 1.44.8
        (r#"{"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}"#, Some(of("1", &[("2", 5_000)]))),
        (r#"{"FunctionVersion": "2", "RoutingConfig": {"AdditionalVersionWeights": {}}}"#, Some(of("2", &[]))),
        (r#"{"FunctionVersion": "2", "RoutingConfig": {}}"#, Some(of("2", &[]))),
        (r#"{"FunctionVersion": "3"}"#, Some(of("3", &[("2", 500)]))),
        (r#"{"RoutingConfig": {}}"#, Some(of("1", &[]))),
        (r#"{"Description": "x"}"#, None),
        // @aws-sdk/client-lambda 3.1164.0
        (
            r#"{"FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":1}}}"#,
            Some(of("1", &[("2", 10_000)])),
        ),
        ("", None),
    ] {
        assert_eq!(update(body, &now), Ok(expected), "{body}");
    }
    let contradiction = update(r#"{"FunctionVersion": "2"}"#, &now).unwrap_err();
    assert_eq!(status_and_code(contradiction.kind), (400, "InvalidParameterValueException"));
    assert!(contradiction.message.contains("RoutingConfig is absent, so its weights stay"), "{contradiction}");
}

#[test]
fn mistakes_of_weights_have_a_class() {
    let now = of("1", &[]);
    for (body, part) in [
        (r#"{"RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}}}"#, "between 0 and 1"),
        (r#"{"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.00001}}}"#, "finer than"),
        (r#"{"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1, "3": 0.1}}}"#, "may name one"),
        (r#"{"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}}"#, "is the main version"),
        (r#"{"RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.1}}}"#, "$LATEST has no weight"),
        (
            r#"{"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}}"#,
            "is the main version",
        ),
        (r#"{"FunctionVersion": "prod"}"#, "a version is a whole number"),
    ] {
        let failure = update(body, &now).unwrap_err();
        assert_eq!(status_and_code(failure.kind).1, "InvalidParameterValueException", "{body}");
        assert!(failure.message.contains(part), "{body}: {failure}");
    }
    for body in ["[", r#"{"RoutingConfig": {"AdditionalVersionWeights": {"2": "0.5"}}}"#] {
        assert_eq!(status_and_code(update(body, &now).unwrap_err().kind).1, "InvalidRequestContentException", "{body}");
    }
}

#[test]
fn an_alias_is_told_as_the_clients_read_it() {
    let (function, name) = ("shop".parse().unwrap(), "prod".parse().unwrap());
    let told = |alias: &Alias| {
        let shown = ShownAlias { function: &function, name: &name, alias, revision_id: "r" };
        alias_configuration(PLACE, &shown).to_string()
    };
    assert_eq!(
        told(&of("1", &[("2", 500)]).alias().unwrap()),
        r#"{"AliasArn":"arn:aws:lambda:eu-west-1:000000000000:function:shop:prod","Description":"","FunctionVersion":"1","Name":"prod","RevisionId":"r","RoutingConfig":{"AdditionalVersionWeights":{"2":0.05}}}"#
    );
    assert!(!told(&Alias::new(Split::whole(VersionId::Latest))).contains("RoutingConfig"));
}

#[test]
fn a_version_is_told_as_the_clients_read_it() {
    let function = "shop".parse().unwrap();
    let version = Version::new(Target::Response(FixedResponse { status: 200, headers: vec![], body: "".into() }));
    let shown = ShownVersion {
        function: &function,
        id: "2".parse().unwrap(),
        qualifier: Some("2"),
        version: &version,
        revision_id: "r",
        last_modified: "2026-11-20T15:00:00.000+0000",
    };
    let told = function_configuration(PLACE, &shown);
    assert_eq!(told["FunctionArn"], "arn:aws:lambda:eu-west-1:000000000000:function:shop:2");
    assert_eq!((&told["State"], &told["LastUpdateStatus"]), (&json!("Active"), &json!("Successful")));
    assert_eq!(told["CodeSha256"].as_str().map(str::len), Some(44));
    assert_eq!(
        function_configuration(PLACE, &ShownVersion { qualifier: None, ..shown })["FunctionArn"],
        "arn:aws:lambda:eu-west-1:000000000000:function:shop"
    );
}

#[test]
fn errors_carry_both_spellings() {
    let failure = DialectFailure::new(FailureKind::Precondition, "no");
    assert_eq!(
        error_body(&failure).to_string(),
        r#"{"Message":"no","Type":"User","__type":"PreconditionFailedException","message":"no"}"#
    );
}
