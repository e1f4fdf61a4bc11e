//! Names of functions as AWS writes them: a name, a part of an ARN, or a whole one, each with or without a qualifier.

use crate::dialect::failure::{DialectFailure, FailureKind};
use crate::value::name::{AliasName, FunctionName, Qualifier};

/// The function that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFunction {
    /// Its name.
    pub name: FunctionName,
    /// The version or alias, where the name holds one.
    pub qualifier: Option<Qualifier>,
}

/// The place that ARNs name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArnPlace<'a> {
    /// The region that the client signed for: any is right.
    pub region: &'a str,
    /// The account of this gateway, 12 digits.
    pub account: &'a str,
}

impl ArnPlace<'_> {
    /// The ARN of a function, or with a qualifier of a part of it.
    #[must_use]
    pub fn function(&self, name: &FunctionName, qualifier: Option<&str>) -> String {
        let Self { region, account } = self;
        let qualifier = qualifier.map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
        format!("arn:aws:lambda:{region}:{account}:function:{name}{qualifier}")
    }

    /// Reads the name of a function: `shop`, `shop:prod`, `000000000000:function:shop:prod`, or the whole ARN.
    ///
    /// # Errors
    /// The name is one that no function here can have; the failure says why.
    pub fn read(&self, text: &str) -> Result<NamedFunction, DialectFailure> {
        let missing =
            |why: &str| DialectFailure::new(FailureKind::NoFunction, format!("Function not found: {text}; {why}"));
        let rest = match text.strip_prefix("arn:") {
            Some(arn) => {
                let parts: Vec<&str> = arn.splitn(4, ':').collect();
                match parts[..] {
                    [_, "lambda", _, rest] => rest,
                    _ => return Err(missing("an ARN of a function is arn:aws:lambda:REGION:ACCOUNT:function:NAME")),
                }
            }
            None => text,
        };
        let rest = match rest.split_once(":function:") {
            Some((account, rest)) if account == self.account => rest,
            Some((account, _)) => {
                return Err(missing(&format!("the account here is {}, not {account}", self.account)));
            }
            None if rest.len() < text.len() => return Err(missing("the ARN names no function")),
            None => rest.strip_prefix("function:").unwrap_or(rest),
        };
        let (name, qualifier) = rest.split_once(':').map_or((rest, None), |(name, rest)| (name, Some(rest)));
        let name = name.parse().map_err(|error| missing(&format!("{error}")))?;
        Ok(NamedFunction { name, qualifier: qualifier.map(read_qualifier).transpose()? })
    }
}

/// A qualifier as AWS writes it: `$LATEST`, a number, or the name of an alias.
///
/// # Errors
/// A text that is none of them.
pub fn read_qualifier(text: &str) -> Result<Qualifier, DialectFailure> {
    text.parse().map_err(|error| {
        DialectFailure::new(FailureKind::NoQualifier, format!("there is no version or alias `{text}`: {error}"))
    })
}

/// The name of an alias that is to be made, as AWS allows it and Weir has it.
///
/// # Errors
/// A name that aliases here cannot have.
pub fn new_alias_name(text: &str) -> Result<AliasName, DialectFailure> {
    text.parse().map_err(|error| {
        DialectFailure::new(FailureKind::WrongName, format!("`{text}` cannot be the name of an alias here: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: ArnPlace<'_> = ArnPlace { region: "eu-west-1", account: "000000000000" };

    #[test]
    fn a_function_is_named_in_every_form() {
        for (text, qualifier) in [
            ("shop", None),
            ("shop:prod", Some("prod")),
            ("shop:$LATEST", Some("$LATEST")),
            ("function:shop", None),
            ("000000000000:function:shop", None),
            ("000000000000:function:shop:2", Some("2")),
            ("arn:aws:lambda:us-east-1:000000000000:function:shop", None),
            ("arn:aws-cn:lambda:cn-north-1:000000000000:function:shop:prod", Some("prod")),
        ] {
            let named = PLACE.read(text).unwrap();
            assert_eq!(named.name.as_str(), "shop", "{text}");
            assert_eq!(named.qualifier.map(|q| q.to_string()).as_deref(), qualifier, "{text}");
        }
        let name = "shop".parse().unwrap();
        assert_eq!(PLACE.function(&name, Some("2")), "arn:aws:lambda:eu-west-1:000000000000:function:shop:2");
        assert_eq!(PLACE.read(&PLACE.function(&name, None)).unwrap().name, name);
    }

    #[test]
    fn what_is_named_wrongly_says_why() {
        for (text, why) in [
            (
                "arn:aws:lambda:eu-west-1:111111111111:function:shop",
                "the account here is 000000000000, not 111111111111",
            ),
            ("111111111111:function:shop", "the account here is"),
            ("arn:aws:s3:::bucket", "an ARN of a function is"),
            ("arn:aws:lambda:eu-west-1:000000000000:layer:x", "the ARN names no function"),
            ("1shop", "a name is a letter"),
            ("", "a name is a letter"),
        ] {
            let failure = PLACE.read(text).unwrap_err();
            assert_eq!(failure.kind, FailureKind::NoFunction);
            assert!(failure.message.contains(why), "{text}: {}", failure.message);
        }
        assert_eq!(PLACE.read("shop:1x").unwrap_err().kind, FailureKind::NoQualifier);
        assert_eq!(new_alias_name("1-prod").unwrap_err().kind, FailureKind::WrongName);
    }
}
