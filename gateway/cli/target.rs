//! What commands name: `shop:prod`, `shop:2`, `1=90`. Read by the same parsers as the file, before any call.

use std::str::FromStr;

use config::value::name::{AliasName, FunctionName, VersionId};
use config::value::weight::{Share, Split};
use serde_json::{Number, Value};

use super::failure::Failure;

/// `shop:prod`
#[derive(Debug, Clone)]
pub(super) struct AliasTarget {
    pub(super) function: FunctionName,
    pub(super) alias: AliasName,
}

/// `shop:2`
#[derive(Debug, Clone)]
pub(super) struct VersionTarget {
    pub(super) function: FunctionName,
    pub(super) number: u32,
}

/// `shop` or `shop:prod`
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) function: FunctionName,
    pub(super) alias: Option<AliasName>,
}

impl AliasTarget {
    /// Its path in the API.
    pub(super) fn path(&self) -> String {
        format!("/v1/functions/{}/aliases/{}", self.function, self.alias)
    }
}

impl VersionTarget {
    /// Its path in the API.
    pub(super) fn path(&self) -> String {
        format!("/v1/functions/{}/versions/{}", self.function, self.number)
    }
}

impl Scope {
    /// Its name in the journal.
    pub(super) fn journal_name(&self) -> String {
        match &self.alias {
            Some(alias) => format!("alias/{}/{alias}", self.function),
            None => format!("function/{}", self.function),
        }
    }
}

impl FromStr for AliasTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (function, alias) = text.split_once(':').ok_or("write FUNCTION:ALIAS, such as `shop:prod`")?;
        Ok(Self { function: name(function, "function")?, alias: name(alias, "alias")? })
    }
}

impl FromStr for VersionTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (function, version) = text.split_once(':').ok_or("write FUNCTION:VERSION, such as `shop:2`")?;
        match name(version, "version")? {
            VersionId::Number(number) => Ok(Self { function: name(function, "function")?, number: number.get() }),
            VersionId::Latest => Err("$LATEST is the draft: see `weir draft`".to_owned()),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (function, alias) = text.split_once(':').map_or((text, None), |(function, alias)| (function, Some(alias)));
        let alias = alias.map(|alias| name(alias, "alias")).transpose()?;
        Ok(Self { function: name(function, "function")?, alias })
    }
}

impl std::fmt::Display for AliasTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.function, self.alias)
    }
}

impl std::fmt::Display for VersionTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.function, self.number)
    }
}

fn name<T: FromStr<Err = config::value::name::NameError>>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("`{text}` is not the name of a {what}: {error}"))
}

/// `1=90`, or `2` for everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    version: VersionId,
    share: Option<Share>,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (version, share) = text.split_once('=').map_or((text, None), |(version, share)| (version, Some(share)));
        let share = share.map(|share| share.parse().map_err(|error| format!("`{share}`: {error}"))).transpose()?;
        Ok(Self { version: version.parse().map_err(|error| format!("`{version}`: {error}"))?, share })
    }
}

/// The split that these parts say: `1=90 2=10`, or one version for everything.
///
/// # Errors
/// What is no split, as usage.
pub(super) fn split(parts: &[Part]) -> Result<Split, Failure> {
    if let [Part { version, share: None }] = parts {
        return Ok(Split::whole(*version));
    }
    let shares = parts.iter().map(|part| part.share.map(|share| (part.version, share)));
    let shares: Option<Vec<_>> = shares.collect();
    let shares = shares.ok_or_else(|| Failure::usage("each version of several needs a weight, such as `1=90 2=10`"))?;
    Split::from_shares(&shares).map_err(|error| Failure::usage(error.to_string()))
}

/// `{"1": 90, "2": 10}` in percent.
pub(super) fn split_json(split: &Split) -> Value {
    let percent = |basis_points: u16| match (basis_points / 100, basis_points % 100) {
        (whole, 0) => Value::Number(whole.into()),
        _ => Number::from_f64(f64::from(basis_points) / 100.0).map_or(Value::Null, Value::Number),
    };
    split.parts().iter().map(|(version, weight)| (version.to_string(), percent(weight.basis_points()))).collect()
}

/// `1: 90, 2: 10` of a split that came as JSON, in order of number.
pub(super) fn split_text(split: &Value) -> String {
    let mut parts: Vec<(&String, &Value)> = split.as_object().into_iter().flatten().collect();
    parts.sort_by_key(|(version, _)| version.parse::<u32>().unwrap_or(u32::MAX));
    let parts = parts.iter().map(|(version, weight)| format!("{version}: {weight}"));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(parts: &[&str]) -> Result<String, String> {
        let parts: Result<Vec<Part>, String> = parts.iter().map(|part| part.parse()).collect();
        split(&parts?).map(|split| split_json(&split).to_string()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn splits_are_sent_in_percent() {
        assert_eq!(json(&["1=90", "2=10"]).unwrap(), r#"{"1":90,"2":10}"#);
        assert_eq!(json(&["2"]).unwrap(), r#"{"2":100}"#);
        assert_eq!(json(&["1=2", "2=1"]).unwrap(), r#"{"1":66.67,"2":33.33}"#);
        assert_eq!(json(&["$LATEST=0.01", "1=99.99"]).unwrap(), r#"{"$LATEST":0.01,"1":99.99}"#);
    }

    #[test]
    fn what_is_no_split_is_refused() {
        for bad in [&["1=90", "2"][..], &["1=0", "2=0"], &["1=1", "1=2"], &["x=1"], &["1=-1"], &["1=1e2"], &["1="]] {
            assert!(json(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn targets_name_a_function_and_a_part_of_it() {
        assert_eq!("shop:$DEFAULT".parse::<AliasTarget>().unwrap().path(), "/v1/functions/shop/aliases/$DEFAULT");
        assert_eq!("shop:2".parse::<VersionTarget>().unwrap().path(), "/v1/functions/shop/versions/2");
        assert_eq!("shop".parse::<Scope>().unwrap().journal_name(), "function/shop");
        assert_eq!("shop:prod".parse::<Scope>().unwrap().journal_name(), "alias/shop/prod");
        assert!("shop".parse::<AliasTarget>().is_err() && "shop:../x".parse::<AliasTarget>().is_err());
        assert!("shop:$LATEST".parse::<VersionTarget>().is_err() && "shop:prod".parse::<VersionTarget>().is_err());
    }
}
