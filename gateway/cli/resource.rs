//! Functions, and what is set as a whole: stages, domains, plans, notifiers.

use std::fmt::Display;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use config::value::host::HostPattern;
use config::value::name::{FunctionName, NotifierName, PlanName, StageName};
use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::ask::{Ask, Change, Form, OnlyAt, read};
use super::failure::Failure;
use super::remote::{Call, Remote};
use super::table::{Side, or_dash};

/// What is named, listed, read, set and deleted as a whole.
pub(super) trait Kind: std::fmt::Debug + Clone + Send + Sync + 'static {
    /// What its name is read by.
    type Name: FromStr<Err: Display> + Display + std::fmt::Debug + Clone + Send + Sync + 'static;
    /// The word for one.
    const ONE: &str;
    /// The collection of the API.
    const MANY: &str;
}

macro_rules! kinds {
    ($($kind:ident, $name:ident, $one:literal, $many:literal;)*) => {$(
        #[derive(Debug, Clone)]
        pub(super) struct $kind;

        impl Kind for $kind {
            type Name = $name;
            const ONE: &str = $one;
            const MANY: &str = $many;
        }
    )*};
}

kinds! {
    Stages, StageName, "stage", "stages";
    Domains, HostPattern, "domain", "domains";
    Plans, PlanName, "plan", "plans";
    Notifiers, NotifierName, "notifier", "notifiers";
}

/// `weir stages` and its like.
#[derive(Debug, clap::Args)]
pub(super) struct Resources<K: Kind> {
    #[command(subcommand)]
    verb: Verb<K>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb<K: Kind> {
    /// List them
    List(Form),
    /// Print one in full
    Get {
        #[arg(value_parser = name::<K>)]
        name: K::Name,
        #[command(flatten)]
        form: Form,
    },
    /// Make or replace one
    Set {
        #[arg(value_parser = name::<K>)]
        name: K::Name,
        /// What the configuration file has under its name, YAML or JSON; `-` is stdin
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        only_at: OnlyAt,
        #[command(flatten)]
        change: Change,
    },
    /// Delete one that nothing refers to
    Delete {
        #[arg(value_parser = name::<K>)]
        name: K::Name,
        #[command(flatten)]
        only_at: OnlyAt,
        #[command(flatten)]
        change: Change,
        #[arg(skip)]
        kind: PhantomData<K>,
    },
}

fn name<K: Kind>(text: &str) -> Result<K::Name, String> {
    text.parse().map_err(|error| format!("{error}"))
}

impl<K: Kind> Ask for Resources<K> {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let path = |name: &K::Name| format!("/v1/{}/{name}", K::MANY);
        match &self.verb {
            Verb::List(form) => {
                let title = K::ONE.to_uppercase();
                let columns = [(&*title, Side::Left), ("REVISION", Side::Right)];
                let row = |item: &Value| [or_dash(item["name"].as_str()), or_dash(item["revision"].as_u64())];
                form.list(remote, &format!("/v1/{}", K::MANY), columns, row)
            }
            Verb::Get { name, form } => form.get(remote, path(name), format_args!("{} {name}", K::ONE)),
            Verb::Set { name, file, only_at, change } => {
                let text = read(file)?;
                let call = Call::new(Method::PUT, path(name)).yaml(text.clone()).only_at(only_at.if_revision);
                let sent = change.tell(remote, call, |_| format!("{} {name} is set", K::ONE));
                sent.map_err(|failure| failure.in_text(&file.display().to_string(), &text))
            }
            Verb::Delete { name, only_at, change, kind: _ } => {
                let call = Call::new(Method::DELETE, path(name)).only_at(only_at.if_revision);
                change.tell(remote, call, |_| format!("{} {name} is deleted", K::ONE))
            }
        }
    }
}

/// `weir functions`
#[derive(Debug, clap::Args)]
pub(super) struct Functions {
    #[command(subcommand)]
    verb: FunctionVerb,
}

#[derive(Debug, clap::Subcommand)]
enum FunctionVerb {
    /// List the functions
    List(Form),
    /// Print a function with its draft, versions and aliases
    Get {
        function: FunctionName,
        #[command(flatten)]
        form: Form,
    },
    /// Make a function without versions
    Create {
        function: FunctionName,
        /// A cloud whose header names it speaks: `fc` or `aws`; may be given several times
        #[arg(long = "dialect", value_name = "NAME")]
        dialects: Vec<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Delete a function that no route and no stage names, with all its versions and aliases
    Delete {
        function: FunctionName,
        #[command(flatten)]
        only_at: OnlyAt,
        #[command(flatten)]
        change: Change,
    },
}

impl Ask for Functions {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let path = |function: &FunctionName| format!("/v1/functions/{function}");
        match &self.verb {
            FunctionVerb::List(form) => list_functions(remote, form),
            FunctionVerb::Get { function, form } => {
                form.get(remote, path(function), format_args!("function {function}"))
            }
            FunctionVerb::Create { function, dialects, change } => {
                let body = json!({"name": function.as_str(), "dialects": dialects});
                let call = Call::new(Method::POST, "/v1/functions").json(&body);
                change.tell(remote, call, |_| format!("function {function} is made"))
            }
            FunctionVerb::Delete { function, only_at, change } => {
                let call = Call::new(Method::DELETE, path(function)).only_at(only_at.if_revision);
                change.tell(remote, call, |_| format!("function {function} is deleted"))
            }
        }
    }
}

fn list_functions(remote: &Remote, form: &Form) -> Result<Exit, Failure> {
    let columns = [
        ("FUNCTION", Side::Left),
        ("REVISION", Side::Right),
        ("VERSIONS", Side::Right),
        ("LATEST", Side::Right),
        ("ALIASES", Side::Left),
    ];
    form.list(remote, "/v1/functions", columns, |item| {
        let aliases: Vec<&str> = item["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        [
            or_dash(item["name"].as_str()),
            or_dash(item["revision"].as_u64()),
            or_dash(item["versions"].as_u64()),
            or_dash(item["latest"].as_u64()),
            or_dash((!aliases.is_empty()).then(|| aliases.join(", "))),
        ]
    })
}
