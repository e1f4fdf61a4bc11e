//! A line of the access log, as far as it tells how its request was resolved.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use config::text::problem::visible;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::Exit;
use crate::cli::failure::Failure;

/// The content of such a line.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    #[serde(flatten)]
    told: Told,
    request_id: Option<String>,
}

/// What is needed to resolve it again.
#[derive(Debug, Deserialize)]
struct Told {
    host: Option<String>,
    path: Option<String>,
    query: Option<String>,
    method: Option<String>,
    client: Option<String>,
    revision: Option<u64>,
    alias: Option<String>,
    version: Option<String>,
    shielded_from: Option<String>,
    reason: Option<String>,
    rule: Option<u64>,
    bucket: Option<u64>,
    slot: Option<u64>,
    owed: Option<String>,
}

impl Line {
    /// Reads a line.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let line: Self = serde_json::from_str(text.trim())
            .map_err(|error| Failure::usage(format!("this is no line of the access log: {error}")))?;
        if line.told.version.is_none() || line.told.revision.is_none() || line.told.reason.is_none() {
            return Err(Failure::new(
                Exit::Failed,
                "the line tells of no version: its request was refused before one was chosen",
            ));
        }
        Ok(line)
    }

    /// Finds the line of a request.
    pub(super) fn find(id: &str, log: &Path) -> Result<Self, Failure> {
        let cannot =
            |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot read {}: {error}", log.display()));
        let mut lines = BufReader::new(File::open(log).map_err(cannot)?);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if lines.read_until(b'\n', &mut bytes).map_err(cannot)? == 0 {
                let message = format!("{} has no line of request `{}`", log.display(), visible(id));
                return Err(
                    Failure::new(Exit::Failed, message).hint("older lines may be in a file that was rotated away")
                );
            }
            let text = String::from_utf8_lossy(&bytes);
            let is_it = text.contains(id)
                && serde_json::from_str::<Self>(&text).is_ok_and(|line| line.request_id.as_deref() == Some(id));
            if is_it {
                return Self::read(&text);
            }
        }
    }

    /// The version that was chosen, whoever answered in its place.
    fn chosen(&self) -> Option<&str> {
        self.told.shielded_from.as_deref().or(self.told.version.as_deref())
    }

    /// What the gateway is asked.
    pub(super) fn question(&self) -> Value {
        let Told { host, path, query, method, client, revision, alias, reason, rule, bucket, slot, owed, .. } =
            &self.told;
        let path = path.as_deref().unwrap_or("/");
        let path = query.as_ref().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let numbers = [("rule", json!(rule)), ("bucket", json!(bucket)), ("slot", json!(slot)), ("owed", json!(owed))];
        let mut drawn = json!({ "reason": reason, "version": self.chosen() });
        for (name, value) in numbers.into_iter().chain([("alias", json!(alias))]).filter(|(_, value)| !value.is_null())
        {
            drawn[name] = value;
        }
        let mut question =
            json!({ "host": host, "path": path, "method": method, "revision": revision, "drawn": drawn });
        if let Some(client) = client {
            question["client"] = client.as_str().into();
        }
        question
    }

    /// Says that the answer is what the line says.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn compare(&self, answer: &Value) -> Result<String, Failure> {
        let (chosen, told) = (self.chosen().unwrap_or("-"), answer["version"].as_str().unwrap_or("none"));
        let revision = &answer["revision"];
        if chosen != told {
            let message = format!(
                "the line says version {}, and revision {revision} leads to {}",
                visible(chosen),
                visible(told)
            );
            let hint = "a rollback that was live before it was stored bears the revision before it; see `weir history`";
            return Err(Failure::new(Exit::Failed, message).hint(hint));
        }
        let by = match (&self.told.shielded_from, &self.told.version) {
            (Some(_), Some(version)) => format!("; version {} answered for it", visible(version)),
            _ => String::new(),
        };
        Ok(format!("as logged   version {} by revision {revision}{by}\n", visible(chosen)))
    }
}
