//! HTTP/2 on raw frames: the cases of h2spec by their numbers, and more of the same kind for what a gateway adds to it. RFC 9113
//! and 7541.
//!
//! A case is what a client sends behind the handshake, and the one thing that has to come of it. A connection that may live on is
//! asked for a last PING; the endpoint never gets a request that was refused.

mod generic;
mod messages;
mod spec;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::HOST;
use crate::kit::PATIENCE;
use crate::kit::endpoint::Endpoint;
use crate::kit::frame::{self, ACK, DATA, END_STREAM, Frame, Framed, GOAWAY, HEADERS, PING, RST_STREAM, headers};
use crate::kit::lane::Lane;
use crate::kit::tls::Certificate;
use crate::kit::weir::{Weir, folder};

const PROCESS: &str = "\
listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0', tls: true}]
admin: {address: '127.0.0.1:0'}
workers: 1
drain: {delay: 0s, deadline: 10s}
";

/// Codes of errors.
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;

/// One case.
struct Case {
    name: String,
    /// Bytes behind the preface and empty SETTINGS. Where none stand, a stream has to end before the next ones.
    sends: Vec<Vec<u8>>,
    outcome: Outcome,
    /// False where what is sent replaces the preface too.
    greets: bool,
}

/// The one thing that has to come.
#[derive(Debug, Clone)]
enum Outcome {
    /// The connection ends, with GOAWAY of one of these codes or without.
    Ends(&'static [u32]),
    /// This stream is reset with one of these codes, or the connection ends as above.
    Resets(u32, &'static [u32]),
    /// This stream is answered with one of these statuses.
    Answers(u32, &'static [u16]),
    /// A refusal of either kind: the stream is answered with one of these statuses, or reset.
    Refuses(u32, &'static [u16]),
    /// A frame of this type and with these flags comes.
    Sends(u8, u8),
    /// Nothing: the connection lives on.
    LivesOn,
}

fn case(name: impl Into<String>, sends: Vec<Vec<u8>>, outcome: Outcome) -> Case {
    Case { name: name.into(), sends, outcome, greets: true }
}

/// The fields of a GET.
fn get() -> Vec<(&'static str, &'static str)> {
    vec![(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", HOST)]
}

/// The fields of a POST.
fn post() -> Vec<(&'static str, &'static str)> {
    vec![(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", HOST)]
}

/// The fields of a GET and one more.
fn get_with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    [get(), vec![(name, value)]].concat()
}

/// A whole GET.
fn whole_get(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, &get())
}

#[test]
fn cases_are_many_and_distinct() {
    let (spec, messages) = (of_h2spec(), messages::cases());
    assert!(spec.len() >= 140 && messages.len() >= 100, "{} and {}", spec.len(), messages.len());
    let cases: Vec<_> = spec.into_iter().chain(messages).collect();
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name stands twice");
}

/// The cases of h2spec.
fn of_h2spec() -> Vec<Case> {
    spec::cases().into_iter().chain(generic::cases()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_of_h2spec_hold_on_every_lane() {
    on_every_lane(of_h2spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_frames_hold_on_every_lane() {
    on_every_lane(messages::cases).await;
}

async fn on_every_lane(cases: fn() -> Vec<Case>) {
    for lane in Lane::all().await {
        let failures = on_lane(lane, cases()).await;
        assert!(failures.is_empty(), "{} cases fail on the lane {lane:?}:\n{}", failures.len(), failures.join("\n"));
    }
}

async fn on_lane(lane: Lane, cases: Vec<Case>) -> Vec<String> {
    let (folder, certificate) = (folder(), Certificate::new(HOST));
    certificate.write(folder.path(), "shop");
    let endpoint = Endpoint::start("v1").await;
    let live = format!(
        "functions:\n  shop: {{versions: {{1: 'http://{}'}}, aliases: {{prod: 1}}}}\n\
         domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n",
        endpoint.address
    );
    let process = format!("{PROCESS}{}", lane.setting().await).leak();
    let weir = Weir::start_in(folder, process, &live).await;
    let address = weir.https.expect("a TLS listener");
    let config = certificate.client(&["h2"]);
    let mut playing = JoinSet::new();
    for case in cases {
        let config = config.clone();
        playing.spawn(async move {
            let mut framed = Framed::connect(address, HOST, config).await.map_err(|error| error.to_string())?;
            let mut came = Vec::new();
            let played = timeout(PATIENCE, play(&case, &mut framed, &mut came)).await;
            let played = played.unwrap_or_else(|_| Err(format!("not within {PATIENCE:?}")));
            played.map_err(|why| format!("{}: {why}\n{}", case.name, readable(&case, &came)))
        });
    }
    let mut failures: Vec<String> = playing.join_all().await.into_iter().filter_map(Result::err).collect();
    let refused = endpoint.seen().into_iter().filter(|seen| seen.target().contains("refused"));
    failures.extend(refused.map(|seen| format!("the endpoint got {}", seen.head.start)));
    failures.extend(endpoint.strays().into_iter().map(|stray| format!("the endpoint got {}", stray.escape_ascii())));
    failures.sort();
    failures
}

async fn play(case: &Case, framed: &mut Framed, came: &mut Vec<Frame>) -> Result<(), String> {
    if case.greets {
        framed.send(&[frame::PREFACE, &frame::settings(&[])].concat()).await;
    }
    for bytes in &case.sends {
        if bytes.is_empty() {
            ended(framed, came).await?;
        }
        framed.send(bytes).await;
    }
    expect(case, framed, came).await?;
    match case.outcome {
        Outcome::Ends(_) | Outcome::Sends(GOAWAY, _) => Ok(()),
        // A reset may be an end, and then there is nobody to ask.
        Outcome::Resets(..) | Outcome::Refuses(..) if !resets_or_answers(came) => Ok(()),
        _ => lives(framed, came).await,
    }
}

/// True if the last frame that came is of a stream, and not of a connection that ends.
fn resets_or_answers(came: &[Frame]) -> bool {
    came.last().is_some_and(|frame| matches!(frame.kind, RST_STREAM | HEADERS))
}

/// Reads until a stream ends.
async fn ended(framed: &mut Framed, came: &mut Vec<Frame>) -> Result<(), String> {
    loop {
        let Some(next) = framed.next().await else { return Err("the connection ends before a stream does".into()) };
        came.push(next.clone());
        if matches!(next.kind, HEADERS | DATA) && next.flags & END_STREAM != 0 {
            return Ok(());
        }
    }
}

/// Reads until the outcome is there; frames before it do not matter.
async fn expect(case: &Case, framed: &mut Framed, came: &mut Vec<Frame>) -> Result<(), String> {
    if matches!(case.outcome, Outcome::LivesOn) {
        return Ok(());
    }
    loop {
        let next = framed.next().await;
        came.extend(next.clone());
        let Some(next) = next else {
            return match &case.outcome {
                Outcome::Ends(_) | Outcome::Resets(..) | Outcome::Refuses(..) => Ok(()),
                _ => Err("the connection ends".into()),
            };
        };
        match &case.outcome {
            Outcome::Ends(codes) | Outcome::Resets(_, codes) if next.kind == GOAWAY => return coded(&next, codes),
            Outcome::Resets(stream, codes) if next.kind == RST_STREAM && next.stream == *stream => {
                return coded(&next, codes);
            }
            Outcome::Refuses(stream, _) if next.kind == RST_STREAM && next.stream == *stream => return Ok(()),
            Outcome::Answers(stream, statuses) | Outcome::Refuses(stream, statuses)
                if next.kind == HEADERS && next.stream == *stream =>
            {
                let status = next.status();
                let right = status.is_some_and(|status| statuses.contains(&status));
                return if right { Ok(()) } else { Err(format!("{status:?}, not {statuses:?}")) };
            }
            Outcome::Sends(kind, flags) if next.kind == *kind && next.flags == *flags => return Ok(()),
            Outcome::Answers(stream, _) if next.kind == RST_STREAM && next.stream == *stream => {
                return Err("the stream is reset".into());
            }
            Outcome::Answers(..) | Outcome::Sends(..) if next.kind == GOAWAY => {
                return Err("the connection ends".into());
            }
            _ => {}
        }
    }
}

fn coded(frame: &Frame, codes: &[u32]) -> Result<(), String> {
    let code = frame.code();
    // The h2 crate, which reads frames for every lane, says PROTOCOL_ERROR for all that it cannot read.
    if code.is_some_and(|code| codes.contains(&code) || (frame.kind == GOAWAY && code == PROTOCOL)) {
        Ok(())
    } else {
        Err(format!("code {code:?}, not {codes:?}"))
    }
}

/// A PING that is answered.
async fn lives(framed: &mut Framed, came: &mut Vec<Frame>) -> Result<(), String> {
    framed.send(&frame::frame(PING, 0, 0, *b"canary!!")).await;
    loop {
        let Some(next) = framed.next().await else { return Err("the connection does not live on".into()) };
        came.push(next.clone());
        match next.kind {
            PING if next.flags == ACK && next.payload == b"canary!!" => return Ok(()),
            GOAWAY => return Err("the connection does not live on".into()),
            _ => {}
        }
    }
}

fn readable(case: &Case, came: &[Frame]) -> String {
    let short = |bytes: &[u8]| bytes[..bytes.len().min(120)].escape_ascii().to_string();
    let sent = case.sends.iter().map(|bytes| format!("  sent {}", short(bytes)));
    let got = came.iter().map(|frame| {
        let Frame { kind, flags, stream, payload } = frame;
        format!("  came type {kind}, flags {flags:#x}, stream {stream}: {}", short(payload))
    });
    sent.take(12).chain(got.take(30)).collect::<Vec<_>>().join("\n")
}
