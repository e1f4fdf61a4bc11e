//! Questions to a Prometheus server: one number, or why there is none. Nothing that is no number counts as one.

use std::time::Duration;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::calls::{Answer, Call, CallError, Caller, colon, quote};
use crate::dial::Dial;

#[cfg(test)]
mod tests;

const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer: thousands of series, so that their number can be told.
const MOST: usize = 4 * 1024 * 1024;

/// Asks Prometheus servers.
#[derive(Clone, Default)]
pub struct Queries(Caller);

/// Why a query gave no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No connection, none in time, or nothing that could be sent.
    #[error("the Prometheus server was not reached: {0}")]
    Unreachable(String),
    /// No series.
    #[error("the query found no series: nothing matches its selectors, or there are no samples in its range")]
    Empty,
    /// More series than one.
    #[error("the query gave {0} series, and one number is wanted: aggregate them, for example with `sum(…)`")]
    Several(usize),
    /// As of 0/0.
    #[error("the query gave NaN: a division of 0 by 0, which is no traffic, most often")]
    NaN,
    /// As of 1/0.
    #[error("the query gave an infinite number: a division by 0, most often")]
    Infinite,
    /// A range, a text, a histogram; what it is.
    #[error("the query gave {0}, and one number is wanted")]
    NotANumber(String),
    /// What the API, or whoever answered in its place, said.
    #[error("the query was refused: {0}")]
    Refused(String),
}

impl Queries {
    /// Asks nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, at these addresses alone.
    #[must_use]
    pub fn dialling(dial: Dial) -> Self {
        Self(Caller::dialling(dial))
    }

    /// The value of `promql` now, at the server whose API is below `url`.
    ///
    /// # Errors
    /// When that is not exactly one finite number; see [`NoAnswer`].
    pub async fn instant(&self, url: &str, promql: &str) -> Result<f64, NoAnswer> {
        let (base, query) =
            url.split_once('?').map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
        let url = format!("{}/api/v1/query{query}", base.trim_end_matches('/'));
        // In the body, because queries can be longer than URLs.
        let body = format!("query={}", utf8_percent_encode(promql, NON_ALPHANUMERIC));
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        let call = Call { method: Method::POST, url: &url, headers, body, within: WITHIN, most: MOST };
        number(&self.0.send(call).await?)
    }
}

impl From<CallError> for NoAnswer {
    fn from(error: CallError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// Reads an answer of `/api/v1/query`. <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>
fn number(Answer { status, body, cut }: &Answer) -> Result<f64, NoAnswer> {
    if *cut {
        return Err(NoAnswer::Refused(format!("it has more than {} MiB of result", MOST / 1024 / 1024)));
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(error) = answer["error"].as_str() {
        return Err(NoAnswer::Refused(quote(error.as_bytes())));
    }
    if !status.is_success() {
        return Err(NoAnswer::Refused(format!("status {status}{}", colon(&quote(body)))));
    }
    let (kind, result) = (&answer["data"]["resultType"], &answer["data"]["result"]);
    match (kind.as_str(), result.as_array().map(Vec::as_slice)) {
        (Some("vector"), Some([])) => Err(NoAnswer::Empty),
        (Some("vector"), Some([one])) => finite(&one["value"][1], "a histogram"),
        (Some("vector"), Some(several)) => Err(NoAnswer::Several(several.len())),
        (Some("scalar"), Some(_)) => finite(&result[1], "a scalar without a value"),
        (Some("matrix"), _) => Err(NoAnswer::NotANumber("a range of samples".to_owned())),
        (Some("string"), _) => Err(NoAnswer::NotANumber("a text".to_owned())),
        _ => Err(NoAnswer::Refused(format!("what answered is not Prometheus{}", colon(&quote(body))))),
    }
}

/// The number in a sample's text; `else_` says what a sample without one is.
fn finite(text: &Value, else_: &str) -> Result<f64, NoAnswer> {
    let number: Option<f64> = text.as_str().and_then(|text| text.parse().ok());
    match number {
        None => Err(NoAnswer::NotANumber(else_.to_owned())),
        Some(number) if number.is_nan() => Err(NoAnswer::NaN),
        Some(number) if number.is_infinite() => Err(NoAnswer::Infinite),
        Some(number) => Ok(number),
    }
}
