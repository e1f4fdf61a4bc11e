//! From the draft to a version, and what may change about a version afterwards.

use std::path::PathBuf;

use config::value::name::FunctionName;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Exit;
use super::ask::{Ask, Change, Form, OnlyAt, read};
use super::failure::Failure;
use super::remote::{Call, Remote};
use super::table::{Side, or_dash};
use super::target::VersionTarget;

/// `weir publish`
#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    function: FunctionName,
    /// Freeze this older version again instead of the draft
    #[arg(long, value_name = "NUMBER")]
    from: Option<u32>,
    /// A name for the version, unique within the function
    #[arg(long)]
    label: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only if the draft is at this revision; refused (exit code 5) when somebody changed it since
    #[arg(long, value_name = "REVISION")]
    expect_revision: Option<u64>,
    #[command(flatten)]
    change: Change,
}

impl Ask for Publish {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let body = object([
            ("from", self.from.map(Value::from)),
            ("label", self.label.as_deref().map(Value::from)),
            ("description", self.description.as_deref().map(Value::from)),
            ("expected_revision", self.expect_revision.map(Value::from)),
        ]);
        let path = format!("/v1/functions/{}/versions", self.function);
        self.change.tell(remote, Call::new(Method::POST, path).json(&body), |answer| {
            format!("{} is published", version_name(&self.function, answer))
        })
    }
}

/// The fields that have a value.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// `shop:3`, from an answer whose `name` or `version` is the number.
fn version_name(function: &FunctionName, answer: &Value) -> String {
    let number = match (&answer["version"], &answer["name"]) {
        (Value::Null, Value::String(name)) => name.clone(),
        (Value::Null, name) => name.to_string(),
        (Value::String(version), _) => version.clone(),
        (version, _) => version.to_string(),
    };
    format!("{function}:{number}")
}

/// `weir version`
#[derive(Debug, clap::Args)]
pub(super) struct Version {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the versions of a function
    List {
        function: FunctionName,
        #[command(flatten)]
        form: Form,
    },
    /// Print a version in full
    Get {
        #[arg(value_name = "FUNCTION:VERSION")]
        target: VersionTarget,
        #[command(flatten)]
        form: Form,
    },
    /// Give a version a label; without one, take it away
    Label {
        #[command(flatten)]
        touch: Touch,
        label: Option<String>,
    },
    /// Describe a version for people; without a text, take the description away
    Describe {
        #[command(flatten)]
        touch: Touch,
        #[arg(value_name = "TEXT")]
        description: Option<String>,
    },
    /// Take a version out of use: no alias may name it any more
    Retire(Touch),
    /// Bring a retired version back
    Unretire(Touch),
    /// Say where a version runs now
    Move {
        #[command(flatten)]
        touch: Touch,
        /// All its endpoints
        #[arg(value_name = "HOST:PORT", required = true)]
        endpoints: Vec<String>,
    },
    /// Delete a version that nothing refers to; its number stays taken
    Delete(Touch),
}

#[derive(Debug, clap::Args)]
struct Touch {
    /// The version, such as `shop:2`
    #[arg(value_name = "FUNCTION:VERSION")]
    target: VersionTarget,
    #[command(flatten)]
    only_at: OnlyAt,
    #[command(flatten)]
    change: Change,
}

impl Touch {
    fn patch(&self, remote: &Remote, body: &Value, done: &str) -> Result<Exit, Failure> {
        self.send(remote, Call::new(Method::PATCH, self.target.path()).json(body), done)
    }

    fn send(&self, remote: &Remote, call: Call, done: &str) -> Result<Exit, Failure> {
        self.change.tell(remote, call.only_at(self.only_at.if_revision), |_| format!("{} {done}", self.target))
    }
}

impl Ask for Version {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        match &self.verb {
            Verb::List { function, form } => list(remote, function, form),
            Verb::Get { target, form } => form.get(remote, target.path(), target),
            Verb::Label { touch, label: Some(label) } => {
                touch.patch(remote, &json!({"label": label}), &format!("has the label {label}"))
            }
            Verb::Label { touch, label: None } => touch.patch(remote, &json!({"label": null}), "has no label"),
            Verb::Describe { touch, description } => {
                touch.patch(remote, &json!({"description": description}), "is described")
            }
            Verb::Retire(touch) => touch.patch(remote, &json!({"retired": true}), "is retired"),
            Verb::Unretire(touch) => touch.patch(remote, &json!({"retired": false}), "is in use again"),
            Verb::Move { touch, endpoints } => {
                let done = format!("runs on {}", endpoints.join(", "));
                touch.patch(remote, &json!({"endpoints": endpoints}), &done)
            }
            Verb::Delete(touch) => touch.send(remote, Call::new(Method::DELETE, touch.target.path()), "is deleted"),
        }
    }
}

fn list(remote: &Remote, function: &FunctionName, form: &Form) -> Result<Exit, Failure> {
    let columns = [
        ("VERSION", Side::Left),
        ("REVISION", Side::Right),
        ("LABEL", Side::Left),
        ("RETIRED", Side::Left),
        ("DESCRIPTION", Side::Left),
    ];
    form.list(remote, &format!("/v1/functions/{function}/versions"), columns, |item| {
        let retired = if item["retired"] == true { "yes" } else { "-" };
        [
            version_name(function, item),
            or_dash(item["revision"].as_u64()),
            or_dash(item["label"].as_str()),
            retired.to_owned(),
            or_dash(item["description"].as_str()),
        ]
    })
}

/// `weir draft`
#[derive(Debug, clap::Args)]
pub(super) struct Draft {
    #[command(subcommand)]
    verb: DraftVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DraftVerb {
    /// Print the draft of a function
    Get {
        function: FunctionName,
        #[command(flatten)]
        form: Form,
    },
    /// Replace the draft; makes the function when there is none
    Set(DraftWrite),
    /// Change the fields that are named; the others stay
    Edit {
        #[command(flatten)]
        write: DraftWrite,
        /// A field to set back to its default; may be given several times
        #[arg(long, value_name = "FIELD", conflicts_with = "file")]
        unset: Vec<String>,
    },
    /// Delete the draft
    Delete {
        function: FunctionName,
        #[command(flatten)]
        only_at: OnlyAt,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, clap::Args)]
struct DraftWrite {
    function: FunctionName,
    /// The fields of a version as in the configuration file, YAML or JSON; `-` is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["endpoints", "protocol", "artifact", "description"])]
    file: Option<PathBuf>,
    /// Where it runs; may be given several times
    #[arg(long = "endpoint", value_name = "HOST:PORT")]
    endpoints: Vec<String>,
    /// How its endpoints are spoken to: `http/1.1`, `h2` or `h2c`
    #[arg(long)]
    protocol: Option<String>,
    /// The digest of what runs there; stands for the endpoints when versions are compared
    #[arg(long, value_name = "DIGEST")]
    artifact: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    only_at: OnlyAt,
    #[command(flatten)]
    change: Change,
}

impl DraftWrite {
    fn send(&self, remote: &Remote, method: Method, unset: &[String]) -> Result<Exit, Failure> {
        let call = Call::new(method, draft_path(&self.function)).only_at(self.only_at.if_revision);
        let told = |_: &Value| format!("the draft of {} is set", self.function);
        if let Some(file) = &self.file {
            let text = read(file)?;
            let sent = self.change.tell(remote, call.yaml(text.clone()), told);
            return sent.map_err(|failure| failure.in_text(&file.display().to_string(), &text));
        }
        let mut body = object([
            ("endpoints", (!self.endpoints.is_empty()).then(|| json!(self.endpoints))),
            ("protocol", self.protocol.as_deref().map(Value::from)),
            ("artifact", self.artifact.as_deref().map(Value::from)),
            ("description", self.description.as_deref().map(Value::from)),
        ]);
        for field in unset {
            body[field] = Value::Null;
        }
        if body.as_object().is_none_or(Map::is_empty) {
            return Err(Failure::usage("nothing to set: give --file, or fields such as `--endpoint 10.0.0.11:8080`"));
        }
        self.change.tell(remote, call.json(&body), told)
    }
}

impl Ask for Draft {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        match &self.verb {
            DraftVerb::Get { function, form } => {
                form.get(remote, draft_path(function), format_args!("draft of {function}"))
            }
            DraftVerb::Set(write) => write.send(remote, Method::PUT, &[]),
            DraftVerb::Edit { write, unset } => write.send(remote, Method::PATCH, unset),
            DraftVerb::Delete { function, only_at, change } => {
                let call = Call::new(Method::DELETE, draft_path(function)).only_at(only_at.if_revision);
                change.tell(remote, call, |_| format!("the draft of {function} is deleted"))
            }
        }
    }
}

fn draft_path(function: &FunctionName) -> String {
    format!("/v1/functions/{function}/draft")
}
