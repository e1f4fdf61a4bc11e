//! Ten thousand broken configurations under constant load: each is judged as `config` judges it, and no request notices.

use std::ops::Range;

use config::model::Config;
use config::text::check::check_emptied;
use config::text::diff::{Change, diff};
use config::text::edit;
use config::text::problem::{Problem, render};
use config::value::host::HostPattern;
use config::value::name::FunctionName;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::HOST;
use crate::kit::api::Api;
use crate::kit::endpoint::Endpoint;
use crate::kit::eventually;
use crate::kit::load::Load;
use crate::kit::weir::{PROCESS, Weir, folder};

/// Clients that only ask what would be, and how many mutations each of them sends.
const TRIED: (usize, usize) = (4, 2_350);
/// Sent to be applied.
const SENT: usize = 300;
/// Written into the file.
const WRITTEN: usize = 300;
/// One in so many mutations is of 10 MB.
const LARGE: usize = 1_500;

/// A bit of everything; `shop` and its domain carry the load.
fn good(endpoint: &Endpoint) -> String {
    format!(
        "{PROCESS}functions:
  shop:
    versions: {{1: 'http://{}'}}
    aliases: {{prod: 1}}
  lab:
    draft: {{endpoints: [10.0.0.19:8080]}}
    versions:
      1: {{endpoints: [10.0.0.11:8080, '10.0.0.12:8080'], protocol: http/1.1, label: first, artifact: 'sha256:0a1b',
          headers: {{set: {{x-color: blue}}, remove: [x-old]}}, timeouts: {{connect: 1s, response: 30s}},
          retries: {{attempts: 2, budget: 10, on_status: [502, 503]}}}}
      2:
        endpoints: ['${{stageVariables.region}}.lab.internal:8443']
        host: '${{stageVariables.region}}.lab.example.com'
        path_prefix: /base/v2
      3: {{response: {{status: 503, headers: {{retry-after: '60'}}, body: 'closed'}}}}
    aliases:
      prod:
        split: {{1: 95, 3: 5}}
        key: [{{header: X-User-Id}}, {{cookie: uid}}, {{query: user}}, client_address]
        on_missing_key: slot
        rules:
          - {{when: 'invoke.headers.User exact Bob', version: 3}}
          - {{when: 'invoke.headers.Age range [1,50)', version: 3}}
          - {{when: {{header: {{x-beta: {{exact: '1'}}}}, method: {{in: [GET, HEAD]}}}}, version: 3}}
          - {{when: {{header: {{x-user-id: {{percent: 12.5, salt: train-7}}}}}}, version: 3}}
        plan: careful
      region: {{split: 2}}
stages:
  europe: {{alias: '${{stageVariables.name}}', variables: {{name: region, region: eu}}}}
domains:
  {HOST}: shop:prod
  lab.example.com:
    stage: europe
    routes:
      - {{path: /static/*, to: 'shop:prod'}}
      - {{path: /*, to: lab, methods: [GET, POST], rewrite: /app/*}}
      - {{path: '/users/{{id}}', to: lab, rewrite: '/u/{{id}}'}}
  '*.api.example.com': {{stage_from: path, routes: [{{path: /*, to: 'lab:1'}}]}}
triggers:
  - {{path: /hooks/github, to: 'lab:prod', methods: [POST]}}
plans:
  careful: {{canaryStep: {{weight: 20, interval: 10m}}}}
  own: {{steps: [{{weight: 5, bake: 10m}}, {{weight: 20, requests: 1000}}, {{weight: 100}}]}}
trusted_proxies: [10.0.0.0/8]
notifiers:
  log: log
",
        endpoint.address
    )
}

/// Draws mutations of one text.
struct Storm {
    text: Vec<u8>,
    random: SmallRng,
}

impl Storm {
    fn new(text: &str, seed: u64) -> Self {
        Self { text: text.into(), random: SmallRng::seed_from_u64(seed) }
    }

    fn at(&mut self) -> usize {
        self.random.random_range(0..self.text.len())
    }

    fn one_of<'o>(&mut self, options: &[&'o str]) -> &'o str {
        options[self.random.random_range(0..options.len())]
    }

    /// The line, with its end, around a random place.
    fn line(&mut self) -> Range<usize> {
        let at = self.at();
        let start = self.text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let end = self.text[at..].iter().position(|byte| *byte == b'\n').map_or(self.text.len(), |end| at + end + 1);
        start..end
    }

    /// A run of letters, or of digits, after a random place.
    fn word(&mut self, is_part: fn(&u8) -> bool) -> Range<usize> {
        let at = self.at();
        let start = self.text[at..].iter().position(is_part).map_or(at, |start| at + start);
        let end = self.text[start..].iter().position(|byte| !is_part(byte)).map_or(self.text.len(), |end| start + end);
        start..end
    }

    fn with(&self, place: Range<usize>, new: &[u8]) -> Vec<u8> {
        [&self.text[..place.start], new, &self.text[place.end..]].concat()
    }

    fn next(&mut self) -> Vec<u8> {
        if self.random.random_range(0..LARGE) == 0 {
            return self.large();
        }
        match self.random.random_range(0..10) {
            0 => self.flipped(),
            1 => {
                let at = self.at();
                self.text[..at].to_vec()
            }
            2 => {
                let number = self.word(u8::is_ascii_digit);
                let huge = "9".repeat(400);
                let new = self.one_of(&[
                    "18446744073709551616",
                    "-1",
                    "0",
                    "1e309",
                    "NaN",
                    "0x7fffffff",
                    "4294967295",
                    "99.999",
                    &huge,
                ]);
                self.with(number, new.as_bytes())
            }
            3 => {
                let line = self.line();
                let twice = self.text[line.clone()].repeat(2);
                self.with(line, &twice)
            }
            4 => {
                let (from, to) = (self.line(), self.line());
                let line = self.text[from].to_vec();
                self.with(to, &line)
            }
            5 => {
                let line = self.line();
                self.with(line, b"")
            }
            6 => {
                let depth = self.random.random_range(10..20_000);
                let nested = self.one_of(&["[", "{a: ", "- ", "[[", "{? "]).repeat(depth);
                let word = self.word(u8::is_ascii_alphanumeric);
                self.with(word, nested.as_bytes())
            }
            7 => {
                let at = self.at();
                let new = self.one_of(&[
                    "&a ",
                    "*a",
                    "!!binary ",
                    "%",
                    "\t",
                    "\0",
                    "\u{feff}",
                    "---\n",
                    "...\n",
                    "<<: *a\n",
                    "'",
                    "\"",
                    "#",
                    ": ",
                    "\u{202e}",
                    "\r",
                    "|\n",
                    "${",
                    "${NOT_THERE}",
                    "~",
                    "!",
                ]);
                self.with(at..at, new.as_bytes())
            }
            8 => {
                let from = self.word(u8::is_ascii_alphabetic);
                let (word, to) = (self.text[from].to_vec(), self.word(u8::is_ascii_alphabetic));
                self.with(to, &word)
            }
            _ => {
                let number = self.word(u8::is_ascii_digit);
                let new = self.random.random_range(0..200).to_string();
                self.with(number, new.as_bytes())
            }
        }
    }

    fn flipped(&mut self) -> Vec<u8> {
        let mut text = self.text.clone();
        for _ in 0..self.random.random_range(1..8) {
            let at = self.at();
            text[at] ^= 1 << self.random.random_range(0..8);
        }
        text
    }

    fn large(&mut self) -> Vec<u8> {
        let word = self.word(u8::is_ascii_alphanumeric);
        let new = self.one_of(&["x", "a: b\n", "[1, ", "é", "1"]);
        self.with(word, new.repeat(10_000_000 / new.len()).as_bytes())
    }
}

/// What the gateway knows: the file as last applied, and what is live.
#[derive(Clone)]
struct Known {
    file: Config,
    live: Config,
}

impl Known {
    fn new(text: &str) -> Self {
        Self { file: Config::default(), live: Config::default() }.judge(text).expect("the good file is good")
    }

    /// What becomes of this text, by the pure core alone.
    fn judge(&self, text: &str) -> Result<Self, Vec<Problem>> {
        let (file, _) = config::text::parse::parse(text, &|name| std::env::var(name).ok())?;
        let located = |problems| config::text::parse::locate(text, problems);
        check_emptied(&self.file, &file).map_err(|problem| located(vec![problem]))?;
        let live = edit::apply(&self.live, &edit::edits_between(&self.file, &file)).map_err(located)?;
        Ok(Self { file, live })
    }

    /// Whether the load's requests go where they went.
    fn carries_the_load_of(&self, other: &Self) -> bool {
        let function: FunctionName = "shop".parse().expect("it is a name");
        let host: HostPattern = HOST.parse().expect("it is a host");
        let road =
            |known: &Self| (known.live.functions.get(&function).cloned(), known.live.domains.get(&host).cloned());
        road(self) == road(other)
    }
}

/// What the API has to say to this body; as text, if it is one.
fn judged(known: &Known, body: &[u8]) -> Option<Known> {
    let text = str::from_utf8(body).ok().filter(|text| !text.trim().is_empty())?;
    known.judge(text).ok()
}

/// Sends a mutation and compares the gateway's judgement with the core's; that one.
async fn send(api: &mut Api, known: &Known, body: &[u8], dry_run: bool) -> Option<Known> {
    let expected = judged(known, body);
    let path = format!("/v1/config?dry_run={dry_run}");
    let answer = api.call("POST", &path, body).await;
    let shown = || String::from_utf8_lossy(&body[..body.len().min(10_000)]);
    match &expected {
        Some(next) => {
            assert_eq!(answer.status, 200, "refused: {}\n{}", answer.text(), shown());
            let changes: Vec<Value> = diff(&known.live, &next.live).iter().map(Change::to_json).collect();
            let answer = answer.json();
            let told = answer["changes"].as_array().expect("a list").iter().filter_map(Change::from_json);
            assert_eq!(told.map(|change| change.to_json()).collect::<Vec<_>>(), changes, "{}", shown());
        }
        None => {
            assert!((400..500).contains(&answer.status), "{} {}\n{}", answer.status, answer.text(), shown());
            assert!(answer.body.bytes.len() < 1 << 20, "an answer of {} bytes", answer.body.bytes.len());
        }
    }
    expected
}

/// Writes a mutation into the file and waits until the gateway judged it as the core does.
async fn write(weir: &Weir, known: &Known, body: &[u8]) -> Option<Known> {
    let file = weir.file();
    let expected = match str::from_utf8(body) {
        Ok(text) => known.judge(text).map_err(|problems| render(&problems, &file.display().to_string(), text)),
        Err(_) => Err(format!("{} is not UTF-8", file.display())),
    };
    let expected = match expected {
        Ok(next) if !next.carries_the_load_of(known) => return None,
        expected => expected,
    };
    let is_judged = async || {
        let reload = weir.ask("/v1/status").await.json()["reload"].clone();
        let is_judged = match &expected {
            Ok(next) => {
                reload["result"] == "applied" && weir.config().await == config::text::format::format(&next.live)
            }
            Err(report) => reload["result"] == "refused" && reload["message"] == **report,
        };
        is_judged.then_some(())
    };
    // One that changes nothing, or is refused as the one before was, could not be told from one that was never read.
    if is_judged().await.is_some() {
        return None;
    }
    let next = weir.folder.path().join("weir.yaml.next");
    std::fs::write(&next, body).expect("the test's folder can be written");
    std::fs::rename(&next, &file).expect("the test's folder can be written");
    weir.signal("HUP");
    eventually("the file is judged", is_judged).await;
    expected.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mutations_change_nothing_that_they_should_not() {
    let endpoint = Endpoint::start("v1").await;
    let text = good(&endpoint);
    let folder = folder();
    let file = folder.path().join("weir.yaml");
    std::fs::write(&file, &text).expect("the test's folder can be written");
    let weir = Weir::start_file(folder, &file, PROCESS).await;
    let mut known = Known::new(&text);
    let load = Load::start(weir.http, HOST, 1, 1_000_000);

    let (clients, each) = TRIED;
    let mut accepted = 0;
    let mut trying = JoinSet::new();
    for client in 0..clients {
        let (mut api, known, mut storm) = (Api::of(&weir).await, known.clone(), Storm::new(&text, client as u64));
        trying.spawn(async move {
            let mut accepted = 0;
            for _ in 0..each {
                accepted += usize::from(send(&mut api, &known, &storm.next(), true).await.is_some());
            }
            accepted
        });
    }
    accepted += trying.join_all().await.into_iter().sum::<usize>();

    let (mut api, mut storm) = (Api::of(&weir).await, Storm::new(&text, 1_000));
    for _ in 0..SENT {
        let body = storm.next();
        let dry_run = judged(&known, &body).is_some_and(|next| !next.carries_the_load_of(&known));
        if let (Some(next), false) = (send(&mut api, &known, &body, dry_run).await, dry_run) {
            known = next;
            assert_eq!(weir.config().await, config::text::format::format(&known.live));
            accepted += 1;
        }
    }
    for _ in 0..WRITTEN {
        let body = storm.next();
        send(&mut api, &known, &body, true).await;
        if let Some(next) = write(&weir, &known, &body).await {
            known = next;
            accepted += 1;
        }
    }
    // Whatever came before: a good file mends it.
    std::fs::write(&file, &text).expect("the test's folder can be written");
    known = known.judge(&text).expect("the good file is good");
    let mended = async || (weir.config().await == config::text::format::format(&known.live)).then_some(());
    eventually("the good file is live", mended).await;
    assert!(accepted > 500, "only {accepted} mutations were good");
    assert!(!weir.log().contains("panicked"), "{}", weir.log());

    let during = load.done();
    for exchange in load.stop().await {
        assert!(matches!(exchange.outcome, Ok((200, _))), "{:?}", exchange.outcome);
    }
    assert!(during > 1_000, "{during} requests are no load");
    assert!(weir.told(&["verify"]).await.contains("whole"));
}
