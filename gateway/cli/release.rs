//! Beginning rollouts: of versions that are there, or of what the draft says.

use std::num::NonZeroU32;
use std::str::FromStr;

use config::text::problem::visible;
use config::value::name::VersionId;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Exit;
use super::ask::{Ask, Change, Form, Why, at};
use super::failure::{Failure, problems};
use super::local::print;
use super::remote::{Answer, Call, Remote};
use super::rollout::{PATH, read};
use super::target::AliasTarget;
use super::watch::{Shown, Until, follow};

/// `weir release`
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// The alias and the version it is to get: `shop:prod 2`; several that step together: `shop:prod=2 cart:prod=5`
    #[arg(value_name = "FUNCTION:ALIAS VERSION", required = true)]
    what: Vec<String>,
    /// The name of a plan, a name of CodeDeploy, or a plan written out: `linearStep: {weight: 10, interval: 1m}`; without
    /// it, the plan of the alias
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// The version that is stable until then; without it, the one that has the traffic
    #[arg(long, value_name = "VERSION")]
    base: Option<VersionId>,
    /// Go on from the split as it is: the candidate keeps what it has
    #[arg(long)]
    adopt: bool,
    /// End the rollout that runs on the alias for this one
    #[arg(long)]
    supersede: bool,
    #[command(flatten)]
    preflight: Preflight,
    /// Show the rollout live until it is over, or holds; the exit code is its outcome: 0 promoted, 1 aborted or superseded,
    /// 5 rolled back
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    change: Change,
}

/// Flag of a command that begins a rollout.
#[derive(Debug, clap::Args)]
struct Preflight {
    /// Begin also when the plan cannot reach an answer with the requests that come
    #[arg(long)]
    no_preflight: bool,
}

impl Preflight {
    fn ask(&self, body: &mut Value) {
        if self.no_preflight {
            body["preflight"] = false.into();
        }
    }
}

/// What a release may lack, and what its guard can see, on stderr.
fn warn(answer: &Answer) {
    for problem in problems(&answer.json["warnings"]) {
        eprintln!("{problem}");
    }
    for outlook in answer.json["outlook"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("{}", visible(outlook));
    }
}

impl Ask for Release {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let mut body = members(&self.what, self.base)?;
        if let Some(plan) = &self.plan {
            body["plan"] = json!(plan);
        }
        for (name, is_set) in [("adopt", self.adopt), ("supersede", self.supersede)] {
            if is_set {
                body[name] = true.into();
            }
        }
        self.preflight.ask(&mut body);
        let sent = self.change.send(remote, Call::new(Method::POST, PATH).json(&body));
        let answer = sent.map_err(|failure| match &self.plan {
            Some(plan) if failure.is_placed() => failure.in_text("--plan", plan),
            _ => failure,
        })?;
        warn(&answer);
        if self.wait {
            return wait(remote, &answer, &self.change.form);
        }
        let told = if self.change.dry_run {
            String::new()
        } else {
            format!("{}{}\n", read(&answer.json)?, at(answer.revision))
        };
        Ok(self.change.show(&answer, |_| told))
    }
}

fn wait(remote: &Remote, begun: &Answer, form: &Form) -> Result<Exit, Failure> {
    let shown = if form.json { Shown::Nothing } else { Shown::by_terminal() };
    let ended = follow(remote, &read(&begun.json)?.id, shown, Until::Held)?;
    if form.json {
        return Ok(match form.show(&ended.json, String::new) {
            Exit::Ok => ended.exit,
            exit => exit,
        });
    }
    Ok(ended.exit)
}

/// The body of a release of one alias, or of several.
fn members(what: &[String], base: Option<VersionId>) -> Result<Value, Failure> {
    let usage = |text: &str| {
        Failure::usage(format!("`{text}`: write `shop:prod 2` for one alias, or `shop:prod=2 cart:prod=5` for several"))
    };
    let one = |target: &str, version: &str| -> Result<Value, Failure> {
        let target: AliasTarget = target.parse().map_err(|error: String| Failure::usage(error))?;
        let version: NonZeroU32 = match version.parse() {
            Ok(VersionId::Number(number)) => number,
            Ok(VersionId::Latest) => {
                return Err(Failure::usage(
                    "$LATEST is the draft, which may change: `weir deploy` publishes and releases it",
                ));
            }
            Err(error) => return Err(Failure::usage(format!("`{version}`: {error}"))),
        };
        Ok(json!({ "function": target.function.as_str(), "alias": target.alias.as_str(), "version": version }))
    };
    let mut body = match what {
        [target, version] if !target.contains('=') => one(target, version)?,
        several => {
            let pairs = several.iter().map(|text| text.split_once('=').ok_or_else(|| usage(text)));
            let members = pairs.map(|pair| pair.and_then(|(target, version)| one(target, version)));
            let mut members = members.collect::<Result<Vec<Value>, Failure>>()?;
            if members.len() == 1 { members.remove(0) } else { json!({ "members": members }) }
        }
    };
    if let Some(base) = base {
        if !body["members"].is_null() {
            return Err(Failure::usage("`--base` is of one alias; release several with the versions that they have"));
        }
        body["base_version"] = json!(base.to_string());
    }
    Ok(body)
}

/// `weir deploy`
#[derive(Debug, clap::Args)]
pub(super) struct Deploy {
    /// The alias, such as `shop:prod`
    #[arg(value_name = "FUNCTION:ALIAS")]
    target: AliasTarget,
    /// So much of the traffic, 0.01 to 1.0: held until somebody promotes or aborts; 1.0 is everything at once
    #[arg(long, value_name = "PART", conflicts_with = "plan")]
    traffic: Option<Part>,
    /// As of `weir release`
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// End the rollout that runs on the alias for this one
    #[arg(long)]
    supersede: bool,
    #[command(flatten)]
    preflight: Preflight,
    /// As of `weir release`
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    form: Form,
}

/// A whole percentage, written as a part of one.
#[derive(Debug, Clone, Copy)]
struct Part(u8);

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a part from 0.01 to 1.0 with at most two decimals, such as `0.1`");
        let (whole, hundredths) = text.split_once('.').unwrap_or((text, "0"));
        let is_plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain(whole) || !is_plain(hundredths) {
            return Err(wrong());
        }
        let hundredths = hundredths.trim_end_matches('0');
        if hundredths.len() > 2 {
            return Err(wrong());
        }
        let percent: u64 = format!("{whole}{hundredths:0<2}").parse().map_err(|_| wrong())?;
        u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent)).map(Self).ok_or_else(wrong)
    }
}

impl Ask for Deploy {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let (version, told) = self.version(remote)?;
        if !self.form.json {
            print(&told);
        }
        let target = &self.target;
        let mut body =
            json!({ "function": target.function.as_str(), "alias": target.alias.as_str(), "version": version });
        match (self.traffic, &self.plan) {
            (Some(Part(100)), _) => body["plan"] = json!("full"),
            (Some(Part(percent)), _) => body["plan"] = json!({ "canaryWeight": percent }),
            (None, Some(plan)) => body["plan"] = json!(plan),
            (None, None) => {}
        }
        if self.supersede {
            body["supersede"] = true.into();
        }
        self.preflight.ask(&mut body);
        let answer = remote.call(Call::new(Method::POST, PATH).json(&body).why(self.why.why.as_deref()))?;
        warn(&answer);
        if self.wait {
            return wait(remote, &answer, &self.form);
        }
        let rollout = read(&answer.json)?;
        Ok(self.form.show(&answer.json, || format!("{rollout}{}\n", at(answer.revision))))
    }
}

impl Deploy {
    /// The version to release, made of the draft if that says something new; and a line about it.
    fn version(&self, remote: &Remote) -> Result<(u32, String), Failure> {
        let function = &self.target.function;
        let path = format!("/v1/functions/{function}");
        let known = remote.get(&*path)?.json;
        if known["draft"].is_null() {
            let none: Map<String, Value> = Map::new();
            let versions = known["versions"].as_object().unwrap_or(&none);
            let in_use = versions.iter().filter(|(_, version)| version["retired"] != true);
            let newest = in_use.filter_map(|(number, _)| number.parse::<u32>().ok()).max();
            let newest = newest.ok_or_else(|| {
                let failure =
                    Failure::new(Exit::Refused, format!("{function} has neither a draft nor a version in use"));
                failure.hint(format!("`weir draft set {function} --endpoint HOST:PORT` says what to deploy"))
            })?;
            return Ok((newest, format!("{function} has no draft: {function}:{newest} is its newest version\n")));
        }
        let call = Call::new(Method::POST, format!("{path}/versions")).json(&json!({})).why(self.why.why.as_deref());
        match remote.call(call) {
            Ok(answer) => match answer.json["number"].as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) => Ok((number, format!("{function}:{number} is published{}\n", at(answer.revision)))),
                None => Err(Failure::other_form(&"a version without a number")),
            },
            Err(failure) => match failure.unchanged {
                Some(number) => Ok((number, format!("{function}:{number} is what the draft says already\n"))),
                None => Err(failure),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(what: &[&str]) -> Result<Value, String> {
        let what: Vec<String> = what.iter().map(|text| (*text).to_owned()).collect();
        members(&what, None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn one_alias_is_named_apart_and_several_in_pairs() {
        let one = json!({ "function": "shop", "alias": "prod", "version": 2 });
        assert_eq!(body(&["shop:prod", "2"]).unwrap(), one);
        assert_eq!(body(&["shop:prod=2"]).unwrap(), one);
        let two = json!({ "members": [one, { "function": "cart", "alias": "prod", "version": 5 }] });
        assert_eq!(body(&["shop:prod=2", "cart:prod=5"]).unwrap(), two);
        for bad in
            [&["shop:prod"][..], &["shop", "2"], &["shop:prod", "0"], &["shop:prod=2", "3"], &["shop:prod", "$LATEST"]]
        {
            assert!(body(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_part_of_the_traffic_is_a_whole_percentage() {
        for (text, percent) in [("0.1", 10), ("1.0", 100), ("1", 100), ("0.01", 1), ("0.250", 25), ("0.30", 30)] {
            assert_eq!(text.parse::<Part>().unwrap().0, percent, "{text}");
        }
        for bad in ["0", "0.0", "1.01", "0.001", "-0.1", ".1", "10", "1.", "10%", "1e-1", "0.-1", ""] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
    }
}
