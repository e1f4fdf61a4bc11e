//! `weir explain`: where a request goes, and why, step by step.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use config::explain::explain;
use config::head::RequestHead;
use config::resolve::Draw;
use config::table::{AliasIndex, Table, UpstreamIndex};

use super::Exit;
use super::local::{fail, load, pretty, print};

/// `weir explain`
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "weir.yaml")]
    config: PathBuf,
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
        let (_, config) = match load(&self.config) {
            Ok(loaded) => loaded,
            Err(exit) => return exit,
        };
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*self.path, None),
        };
        if !path.starts_with('/') {
            return fail(&format!("--path: `{}` does not start with `/`", self.path));
        }
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
