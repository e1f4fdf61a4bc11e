//! `weir explain`: where a request goes, and why, step by step.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use config::route::explain::explain;
use config::route::head::RequestHead;
use config::route::resolve::Draw;
use config::route::table::{AliasIndex, Table, UpstreamIndex};
use config::text::problem::visible;

use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::access::{Access, Address, DEFAULT_FILE};
use super::ask::finish;
use super::failure::Failure;
use super::local::{fail, load_unresolved, pretty, print};
use super::remote::{Call, Remote};
use crate::serve::environment;

/// `weir explain`
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The configuration file; `weir.yaml` when none is named
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the running gateway instead: at this address, or without one at the address that the configuration file names
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, conflicts_with = "slot")]
    admin: Option<Option<Address>>,
    /// The bearer token for it; prefer WEIR_TOKEN or the token file, because everybody on this machine can see this one
    #[arg(long, value_name = "TOKEN", env = "WEIR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// PEM file of the certificate authorities that its certificate is checked against, instead of the system's
    #[arg(long, value_name = "FILE", env = "WEIR_CA")]
    ca: Option<PathBuf>,
    /// The host of the request
    #[arg(long)]
    host: String,
    /// The path of the request, with its query
    #[arg(long, default_value = "/")]
    path: String,
    /// The method of the request
    #[arg(long, default_value = "GET")]
    method: String,
    /// A header of the request; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The client's address
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    client: IpAddr,
    /// The slot that a keyless request would draw
    #[arg(long, default_value_t = 0)]
    slot: u64,
    /// Print the steps as JSON
    #[arg(long)]
    json: bool,
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
        match &self.admin {
            None => self.local(),
            Some(admin) => finish(self.ask(admin.as_ref())),
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
        let body = json!({
            "host": self.host,
            "path": self.path,
            "method": self.method,
            "headers": self.headers,
            "client": self.client,
        });
        let answer = Remote::new(&access)?.call(Call::new(Method::POST, "/v1/explain").json(&body))?.json;
        if self.json {
            return Ok(print(&pretty(&answer)));
        }
        let steps = answer["steps"].as_array().into_iter().flatten();
        let text = |step: &Value, name: &str| visible(step[name].as_str().unwrap_or_default());
        let lines = steps.map(|step| format!("{:<11} {}\n", text(step, "step"), text(step, "found")));
        Ok(print(&lines.collect::<String>()))
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
            host: &self.host,
            path,
            query,
            headers: &*self.headers,
            client: self.client,
        };
        let explanation = explain(&Table::compile(&config), &head, &mut AtSlot(self.slot));
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
