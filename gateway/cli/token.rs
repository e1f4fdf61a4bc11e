//! Tokens of the admin API, and the end of the gateway.

use config::value::name::TokenName;
use reqwest::Method;
use serde_json::json;

use super::Exit;
use super::ask::{Ask, Form, Why};
use super::failure::Failure;
use super::local::print;
use super::remote::{Call, Remote};
use super::table::{Side, or_dash};

/// `weir token`
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a token and print it, this once
    Create {
        name: TokenName,
        /// What it may do
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        form: Form,
    },
    /// List the tokens, without their secrets
    List(Form),
    /// Make a token worthless
    Revoke {
        name: TokenName,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Role {
    /// Reads
    Viewer,
    /// Reads and changes
    Operator,
    /// Everything, tokens included
    Admin,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Ask for Token {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        match &self.verb {
            Verb::Create { name, role, why, form } => {
                let body = json!({"name": name.as_str(), "role": role.as_str()});
                let answer = remote.call(Call::new(Method::POST, "/v1/tokens").json(&body).why(why.why.as_deref()))?;
                let token = answer.json["token"].as_str().unwrap_or_default();
                eprintln!("weir: this is the only time that the token is shown");
                Ok(form.show(&answer.json, || format!("{token}\n")))
            }
            Verb::List(form) => {
                form.list(remote, "/v1/tokens", [("TOKEN", Side::Left), ("ROLE", Side::Left)], |item| {
                    [or_dash(item["name"].as_str()), or_dash(item["role"].as_str())]
                })
            }
            Verb::Revoke { name, why } => {
                remote.call(Call::new(Method::DELETE, format!("/v1/tokens/{name}")).why(why.why.as_deref()))?;
                Ok(print(&format!("token {name} is revoked\n")))
            }
        }
    }
}

/// `weir drain`
#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    #[command(flatten)]
    why: Why,
}

impl Ask for Drain {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        remote.call(Call::new(Method::POST, "/v1/drain").why(self.why.why.as_deref()))?;
        Ok(print("the gateway takes no new traffic and ends when its requests are answered\n"))
    }
}
