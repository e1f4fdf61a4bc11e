//! Where the gateway is, and with what token it is asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use config::model::{AdminListener, Process};
use reqwest::Url;

use super::Exit;
use super::failure::Failure;
use crate::files;
use crate::serve::environment;

/// The configuration file that is read when none is named.
pub(super) const DEFAULT_FILE: &str = "weir.yaml";

/// Flags of every command that asks a running gateway.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub(super) struct Access {
    /// The admin API: `127.0.0.1:9900`, `https://host:9900` or `unix:/run/weir.sock`; otherwise the one that the
    /// configuration file names
    #[arg(long, global = true, value_name = "ADDRESS", env = "WEIR_ADMIN")]
    pub(super) admin: Option<Address>,
    /// The bearer token. Everybody on this machine can see it in `ps`: prefer WEIR_TOKEN or the token file, which stands
    /// beside the store and is used for a gateway on this machine
    #[arg(long, global = true, value_name = "TOKEN", env = "WEIR_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// PEM file of the certificate authorities that the gateway's certificate is checked against, instead of the system's
    #[arg(long, global = true, value_name = "FILE", env = "WEIR_CA")]
    pub(super) ca: Option<PathBuf>,
    /// The gateway's configuration file, for its admin address and token file; `weir.yaml` if there is one
    #[arg(long, global = true, value_name = "FILE", env = "WEIR_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

/// An address of the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// `http://host:port` or `https://host:port`.
    Url(Url),
    /// A Unix socket.
    Socket(PathBuf),
}

/// Everything that is known before the first call.
pub(super) struct Found {
    pub(super) address: Address,
    /// Who named the address.
    pub(super) by: String,
    pub(super) token: Option<String>,
    /// Where the token was looked for, and with what result.
    pub(super) looked: String,
}

impl Access {
    /// Reads the configuration file and the token file, as far as the flags leave something open.
    ///
    /// # Errors
    /// A configuration file whose process settings are wrong; a token file that others can read.
    pub(super) fn find(&self) -> Result<Found, Failure> {
        let mut process = None;
        let (address, by) = match &self.admin {
            Some(address) => (address.clone(), "--admin or WEIR_ADMIN".to_owned()),
            None => {
                let (file, read) = self.process()?;
                let default = || format!("the default, without a {DEFAULT_FILE}");
                let by = file.map_or_else(default, |file| format!("`admin` of {}", file.display()));
                (of_process(&process.insert(read).admin)?, by)
            }
        };
        if let Some(token) = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            return Ok(Found { address, by, token: Some(token.to_owned()), looked: looked("found", "not read") });
        }
        // A token file opens the gateway of this machine, and no other one has a right to see what is in it.
        if self.admin.is_some() && !address.is_local() {
            let looked = looked("not set", "not used for a gateway elsewhere");
            return Ok(Found { address, by, token: None, looked });
        }
        let process = match process.map_or_else(|| self.process().map(|(_, process)| process), Ok) {
            Ok(process) => process,
            // A file that nobody named stops nobody who knows where the gateway is.
            Err(_) if self.config.is_none() => {
                let looked = looked("not set", &format!("not known, because {DEFAULT_FILE} cannot be read"));
                return Ok(Found { address, by, token: None, looked });
            }
            Err(failure) => return Err(failure),
        };
        let file = process.store.with_extension("token");
        let file = std::path::absolute(&file).unwrap_or(file);
        let (token, result) = match read_token(&file)? {
            Ok(token) => (Some(token), format!("{}: found", file.display())),
            Err(error) if process.store.is_relative() => {
                let where_else =
                    "`store` is relative to the working directory, which may be another than the gateway's";
                (None, format!("{}: {error}; {where_else}", file.display()))
            }
            Err(error) => (None, format!("{}: {error}", file.display())),
        };
        Ok(Found { address, by, token, looked: looked("not set", &result) })
    }

    /// The configuration file, if there is one, and what it says about the process.
    fn process(&self) -> Result<(Option<&Path>, Process), Failure> {
        let file = self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let text = match files::read_text_in_time(file, files::CONFIGURATION) {
            Ok((_, text)) => text,
            Err(error) if error.is_missing() && self.config.is_none() => {
                return Ok((None, Process::default()));
            }
            Err(error) => return Err(Failure::unreadable(file, &error)),
        };
        match config::text::parse::parse_process(&text, &environment) {
            Ok((process, _)) => Ok((Some(file), process)),
            Err(problems) => {
                let name = file.display().to_string();
                let failure = Failure::new(Exit::Invalid, format!("{name} does not say where the gateway is"));
                let failure = failure.with_problems(problems).in_text(&name, &text);
                Err(failure.hint("name the gateway with --admin and the token with WEIR_TOKEN"))
            }
        }
    }
}

fn looked(flag: &str, file: &str) -> String {
    format!("--token or WEIR_TOKEN ({flag}), then the token file ({file})")
}

/// What a token file holds, or why there is nothing to read.
fn read_token(file: &Path) -> Result<Result<String, String>, Failure> {
    let (stamp, text) = match files::read_text_in_time(file, files::SMALL) {
        Ok(read) => read,
        Err(error) if error.is_missing() => return Ok(Err("not there".to_owned())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mode = stamp.mode() & 0o777;
    if mode & 0o077 != 0 {
        let name = file.display();
        let failure =
            Failure::new(Exit::Failed, format!("others can read or change the token file {name} (mode {mode:04o})"));
        return Err(
            failure.hint(format!("`chmod 600 {name}`, and make a new token if somebody may have read this one"))
        );
    }
    match text.trim() {
        "" => Ok(Err("empty".to_owned())),
        token => Ok(Ok(token.to_owned())),
    }
}

/// How the gateway that listens so is reached from the same machine.
fn of_process(listens: &AdminListener) -> Result<Address, Failure> {
    let (mut address, tls) = match listens {
        AdminListener::Socket(path) => return Ok(Address::Socket(path.clone())),
        AdminListener::Tcp { address, tls, .. } => (*address, tls.is_some()),
    };
    if address.ip().is_unspecified() {
        let ip: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(ip);
    }
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{address}").parse().map_err(|error: String| Failure::new(Exit::Invalid, error))
}

impl Address {
    /// Whether this machine is at the other end.
    fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Url(url) => url.host_str().is_some_and(|host| {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "write `127.0.0.1:9900`, `https://host:9900` or `unix:/path/to.sock`";
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(expected.to_owned()) } else { Ok(Self::Socket(path.into())) };
        }
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|error| format!("`{text}` is not an address ({error}); {expected}"))?;
        let nobody = url.username().is_empty() && url.password().is_none();
        let plain = nobody && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !plain || !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{text}` is more than an address; {expected}"));
        }
        Ok(Self::Url(url))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_short_or_whole() {
        let shown = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(shown("127.0.0.1:9900").as_deref(), Ok("http://127.0.0.1:9900"));
        assert_eq!(shown("https://weir.example:9900/").as_deref(), Ok("https://weir.example:9900"));
        assert_eq!(shown("[::1]:9900").as_deref(), Ok("http://[::1]:9900"));
        assert_eq!(shown("unix:/run/weir.sock").as_deref(), Ok("unix:/run/weir.sock"));
        for bad in ["", "unix:", "ftp://host", "http://host/v1", "http://user@host", "host:port", "http://h?a=b"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_gateway_that_listens_everywhere_is_reached_on_this_machine() {
        let reached = |address: &str| {
            let listens = AdminListener::Tcp { address: address.parse().unwrap(), tls: None, insecure: false };
            of_process(&listens).unwrap().to_string()
        };
        assert_eq!(reached("0.0.0.0:9900"), "http://127.0.0.1:9900");
        assert_eq!(reached("[::]:9900"), "http://[::1]:9900");
        assert_eq!(reached("10.0.0.5:9900"), "http://10.0.0.5:9900");
        assert_eq!(of_process(&AdminListener::Socket("/run/w.sock".into())).unwrap().to_string(), "unix:/run/w.sock");
    }

    #[test]
    fn only_this_machine_is_local() {
        let local = |text: &str| text.parse::<Address>().unwrap().is_local();
        assert!(local("127.0.0.1:9900") && local("[::1]:1") && local("localhost:1") && local("unix:weir.sock"));
        assert!(!local("10.0.0.1:9900") && !local("https://127.0.0.1.example:1"));
    }
}
