//! `weir explain`: where a request goes, and why, step by step; and where one of the past went.
//!
//! - `line`: a request of the past, as its line in the access log tells it

mod line;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use config::dialect::event::routing_key;
use config::route::explain::explain;
use config::route::head::RequestHead;
use config::route::resolve::Draw;
use config::route::table::{AliasIndex, Table, UpstreamIndex};
use config::text::problem::visible;
use config::value::name::AliasName;

use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::access::{Access, Address, DEFAULT_FILE};
use super::ask::finish;
use super::failure::Failure;
use super::local::{fail, load_unresolved, pretty, print};
use super::remote::{Call, Remote};
use crate::serve::environment;
use line::Line;

/// `weir explain`
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The configuration file; `weir.yaml` when none is named
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the running gateway instead: at this address, or without one at the address that the configuration file names
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1)]
    admin: Option<Option<Address>>,
    /// The bearer token for it; prefer WEIR_TOKEN or the token file, because everybody on this machine can see this one
    #[arg(long, value_name = "TOKEN", env = "WEIR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// PEM file of the certificate authorities that its certificate is checked against, instead of the system's
    #[arg(long, value_name = "FILE", env = "WEIR_CA")]
    ca: Option<PathBuf>,
    /// The host of the request
    #[arg(long, required_unless_present_any = ["log_line", "request"])]
    host: Option<String>,
    /// The path of the request, with its query
    #[arg(long, default_value = "/")]
    path: String,
    /// The method of the request
    #[arg(long, default_value = "GET")]
    method: String,
    /// A header of the request; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The routing key of an invocation: a JSON object of texts, which rules see as `invoke.headers.NAME`
    #[arg(long, value_name = "JSON", value_parser = fields_of_routing_key)]
    routing_key: Option<RoutingKey>,
    /// The client's address
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    client: IpAddr,
    /// The slot that a keyless request would draw; 0 unless the running gateway is asked
    #[arg(long)]
    slot: Option<u64>,
    /// The bucket of its routing key; asks the running gateway
    #[arg(long, conflicts_with = "slot", requires = "alias", value_parser = clap::value_parser!(u16).range(0..10_000))]
    bucket: Option<u16>,
    /// The alias of that bucket
    #[arg(long, requires = "bucket")]
    alias: Option<AliasName>,
    /// The revision that it was resolved by, instead of what is live; asks the running gateway
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
    /// A line of the access log: where that request went, by the revision that the line names; `-` reads it from standard input
    #[arg(long, value_name = "LINE", conflicts_with_all = ["request", "host", "slot", "bucket", "revision", "headers", "routing_key"])]
    log_line: Option<String>,
    /// The request with this id (`x-request-id`), by its line in the access log that --log names
    #[arg(long, value_name = "ID", requires = "log", conflicts_with_all = ["host", "slot", "bucket", "revision", "headers", "routing_key"])]
    request: Option<String>,
    /// The access log
    #[arg(long, value_name = "FILE", requires = "request")]
    log: Option<PathBuf>,
    /// Print the steps as JSON
    #[arg(long)]
    json: bool,
}

/// The fields of a routing key.
#[derive(Debug, Clone, Default)]
struct RoutingKey(Vec<(String, String)>);

fn fields_of_routing_key(text: &str) -> Result<RoutingKey, String> {
    let fields = routing_key(text).map_err(|failure| failure.message)?;
    Ok(RoutingKey(fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written `NAME: VALUE`")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

impl Explain {
    pub(super) fn run(&self) -> Exit {
        if !self.path.starts_with('/') {
            return fail(&format!("--path: `{}` does not start with `/`", self.path));
        }
        let is_past =
            self.revision.is_some() || self.bucket.is_some() || self.log_line.is_some() || self.request.is_some();
        match &self.admin {
            None if !is_past => self.local(),
            admin => finish(self.ask(admin.as_ref().and_then(Option::as_ref))),
        }
    }

    /// The line of the request that is asked for, if it is one of the past.
    fn line(&self) -> Result<Option<Line>, Failure> {
        match (&self.log_line, &self.request, &self.log) {
            (Some(line), ..) if line == "-" => {
                let text = std::io::read_to_string(std::io::stdin());
                let text = text.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
                Line::read(&text).map(Some)
            }
            (Some(line), ..) => Line::read(line).map(Some),
            (None, Some(id), Some(log)) => Line::find(id, log).map(Some),
            _ => Ok(None),
        }
    }

    fn ask(&self, admin: Option<&Address>) -> Result<Exit, Failure> {
        let from_environment = || environment("WEIR_ADMIN").map(|text| text.parse()).transpose();
        let admin = match admin {
            Some(address) => Some(address.clone()),
            None => from_environment().map_err(|error: String| Failure::usage(format!("WEIR_ADMIN: {error}")))?,
        };
        let (token, ca, config) = (self.token.clone(), self.ca.clone(), self.config.clone());
        let access = Access { admin, token, ca, config };
        let line = self.line()?;
        let body = match &line {
            Some(line) => line.question(),
            None => self.question(),
        };
        let answer = Remote::new(&access)?.call(Call::new(Method::POST, "/v1/explain").json(&body))?.json;
        if self.json {
            let told = print(&pretty(&answer));
            return line.map_or(Ok(told), |line| line.compare(&answer).map(|_| told));
        }
        let steps = answer["steps"].as_array().into_iter().flatten();
        let text = |step: &Value, name: &str| visible(step[name].as_str().unwrap_or_default());
        let lines = steps.map(|step| format!("{:<11} {}\n", text(step, "step"), text(step, "found")));
        let told = print(&lines.collect::<String>());
        match line {
            Some(line) => line.compare(&answer).map(|same| if told == Exit::Ok { print(&same) } else { told }),
            None => Ok(told),
        }
    }

    /// The headers that rules and routing keys see: the fields of the routing key first.
    fn fields(&self) -> Vec<(String, String)> {
        let key = self.routing_key.iter().flat_map(|RoutingKey(fields)| fields);
        key.chain(&self.headers).cloned().collect()
    }

    fn question(&self) -> Value {
        let mut question = json!({
            "host": self.host,
            "path": self.path,
            "method": self.method,
            "headers": self.fields(),
            "client": self.client,
        });
        if let Some(revision) = self.revision {
            question["revision"] = revision.into();
        }
        if let Some(slot) = self.slot {
            question["slot"] = slot.into();
        }
        if let (Some(bucket), Some(alias)) = (self.bucket, &self.alias) {
            // The version is what is asked for; a bucket decides it.
            question["drawn"] =
                json!({ "reason": "bucket", "bucket": bucket, "alias": alias.as_str(), "version": "$LATEST" });
        }
        question
    }

    fn local(&self) -> Exit {
        let config = match load_unresolved(self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE))) {
            Ok(loaded) => loaded,
            Err(exit) => return exit,
        };
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*self.path, None),
        };
        let head = RequestHead {
            method: &self.method,
            host: self.host.as_deref().unwrap_or_default(),
            path,
            query,
            headers: &*self.fields(),
            client: self.client,
        };
        let explanation = explain(&Table::compile(&config), &head, &mut AtSlot(self.slot.unwrap_or(0)));
        if self.json { print(&pretty(&explanation.json())) } else { print(&explanation.to_string()) }
    }
}

/// Draws what the command line says; nothing is running, so every version counts as healthy.
struct AtSlot(u64);

impl Draw for AtSlot {
    fn slot(&mut self, _: AliasIndex) -> u64 {
        self.0
    }

    fn random(&mut self) -> u64 {
        self.0
    }

    fn healthy(&self, _: UpstreamIndex) -> bool {
        true
    }
}
