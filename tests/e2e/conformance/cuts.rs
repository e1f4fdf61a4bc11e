//! Exchanges cut at every byte: what is cut never passes for whole, and what comes in two pieces is what comes in one.

use super::case::{
    Answered, Case, ClientEnd, Pool, Received, ReceivedRequest, Step, answered, got, passes, reply, reply_then,
};
use crate::kit::message::Framing;
use crate::kit::script::Then;

/// An exchange that goes well.
struct Exchange {
    name: &'static str,
    /// The client's bytes, request by request.
    requests: Vec<&'static str>,
    received: Vec<ReceivedRequest>,
    /// The endpoint's answer to each request.
    reply: &'static str,
    answer: Answered,
    interims: &'static [u16],
}

const GET: &str = "GET /a HTTP/1.1\r\nhost: $H\r\n\r\n";
const POST: &str = "POST /a HTTP/1.1\r\nhost: $H\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKS: &str = "POST /a HTTP/1.1\r\nhost: $H\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nx-sum: 1\r\n\r\n";
const HEAD: &str = "HEAD /a HTTP/1.1\r\nhost: $H\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld";
const OK_CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nwor\r\n2\r\nld\r\n0\r\n\r\n";
const NONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const LENGTH_ALONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
const HINTED: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld";

fn exchanges() -> Vec<Exchange> {
    let whole = |framing| answered(200).body(framing, "world");
    let plain = || got("GET /a HTTP/1.1");
    let posted = || got("POST /a HTTP/1.1");
    let exchange =
        |name, requests, received, reply, answer| Exchange { name, requests, received, reply, answer, interims: &[] };
    vec![
        exchange("GET", vec![GET], vec![plain()], OK, whole(Framing::Length)),
        exchange("GET, chunks", vec![GET], vec![plain()], OK_CHUNKS, whole(Framing::Chunked)),
        exchange("GET, 204", vec![GET], vec![plain()], NONE, answered(204)),
        exchange(
            "HEAD",
            vec![HEAD],
            vec![got("HEAD /a HTTP/1.1")],
            LENGTH_ALONE,
            answered(200).body(Framing::None, ""),
        ),
        exchange("POST", vec![POST], vec![posted().length("hello")], OK_CHUNKS, whole(Framing::Chunked)),
        exchange("POST, chunks", vec![CHUNKS], vec![posted().chunked("hello")], OK, whole(Framing::Length)),
        exchange("two", vec![POST, GET], vec![posted().length("hello"), plain()], OK, whole(Framing::Length)),
        Exchange { interims: &[103], ..exchange("hints", vec![GET], vec![plain()], HINTED, whole(Framing::Length)) },
    ]
}

/// Cases for every cut of every exchange.
pub(super) fn cases() -> Vec<Case> {
    exchanges().iter().flat_map(|exchange| [exchange.of_the_client(), exchange.of_the_endpoint()].concat()).collect()
}

impl Exchange {
    /// The exchange with as many requests as are whole.
    fn case(&self, name: String, whole: usize) -> Case {
        let case = passes(name, "", got("")).by(reply(self.reply)).answers(vec![self.answer.clone(); whole]);
        let case = case.interims(&self.interims.repeat(whole));
        case.received(Received::Whole(self.received[..whole].to_vec()))
    }

    fn of_the_client(&self) -> Vec<Case> {
        let bytes = self.requests.concat();
        let mut cases = Vec::new();
        for at in (1..bytes.len()).filter(|at| !splits_the_host(&bytes, *at)) {
            let (first, rest) = bytes.split_at(at);
            let (first, rest) = (Step::Send(first.into()), Step::Send(rest.into()));
            let name = |what: &str| format!("{}: the client {what} byte {at}", self.name);
            let case = self.case(name("pauses at"), self.requests.len());
            cases.push(case.steps(vec![first.clone(), Step::Pause, rest]));
            let mut ends = 0;
            let whole = self.requests.iter().filter(|request| {
                ends += request.len();
                ends <= at
            });
            let whole = whole.count();
            let case = self.case(name("ends at"), whole).ends(ClientEnd::Closed).pool(Pool::Any);
            let case = case.received(Received::Begun(self.received[..whole].to_vec()));
            cases.push(case.steps(vec![first.clone(), Step::End]));
            // What was whole may be answered or not, and nobody reads it.
            let case = self.case(name("resets at"), 0).ends(ClientEnd::Left).pool(Pool::Any);
            cases.push(case.received(Received::InStep).steps(vec![first, Step::Pause, Step::Reset]));
        }
        cases
    }

    fn of_the_endpoint(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for at in 0..self.reply.len() {
            let (first, rest) = self.reply.split_at(at);
            let name = |what: &str| format!("{}: the endpoint {what} byte {at}", self.name);
            if at > 0 {
                let mut case = self.case(name("pauses at"), self.requests.len());
                case.endpoint = vec![reply_then(first, Then::Pause(rest.into()))];
                cases.push(case.steps(vec![Step::Send(self.requests.concat().into())]));
            }
            for (what, then) in [("ends at", Then::Close), ("resets at", Then::Reset)] {
                let mut case = self.case(name(what), 1).ends(ClientEnd::Any).pool(Pool::Dropped);
                case.endpoint = vec![reply_then(first, then)];
                case.expected.interims = None;
                if at == 0 {
                    // It ends behind the head of the request, whose body may have come with it or not.
                    case.expected.received = Received::InStep;
                }
                let case = case.answers(vec![answered(502).or_cut()]);
                cases.push(case.steps(vec![Step::Send(self.requests[0].into())]));
            }
        }
        cases
    }
}

/// The mark that stands for the host is no byte of its own.
fn splits_the_host(bytes: &str, at: usize) -> bool {
    bytes[..at].ends_with('$')
}
