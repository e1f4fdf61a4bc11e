//! A case as data: what the client sends, what the endpoint answers, and what each side has to get.

use crate::kit::message::Framing;
use crate::kit::script::{ScriptedReply, Then};

/// Stands for the host of a case, wherever it occurs in bytes.
pub(super) const HOST_MARK: &str = "$H";

/// One case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Unique; what the table of known differences names.
    pub(super) name: String,
    pub(super) client: Vec<Step>,
    pub(super) endpoint: Vec<ScriptedReply>,
    pub(super) expected: Expected,
}

/// What the client does.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits until these bytes came from the gateway.
    Await(&'static str),
    /// Waits until the endpoint got these bytes.
    Reach(&'static str),
    /// Lets a moment pass, where nobody says anything that could be awaited.
    Pause,
    /// Ends its side.
    End,
    /// Resets the connection.
    Reset,
}

/// What has to come of a case.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// Statuses of the interim answers, in order; `None`: not looked at.
    pub(super) interims: Option<Vec<u16>>,
    /// The answers, in order; none if the connection just ends.
    pub(super) answers: Vec<Answered>,
    pub(super) client_end: ClientEnd,
    pub(super) received: Received,
    pub(super) pool: Pool,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientEnd {
    /// The gateway ends it, and sends nothing more.
    Closed,
    /// It serves the next request.
    Kept,
    /// Either, as the answer says.
    Any,
    /// The client leaves, as from a tunnel, or because a request of its own is not whole.
    Left,
}

/// What the endpoint has to get.
#[derive(Debug, Clone)]
pub(super) enum Received {
    /// Not one byte.
    Nothing,
    /// No whole request; the beginning of one may have come.
    NothingWhole,
    /// Exactly these requests, and perhaps the beginning of another one.
    Begun(Vec<ReceivedRequest>),
    /// Whole requests and the beginning of one, whatever they are.
    InStep,
    /// Exactly these requests.
    Whole(Vec<ReceivedRequest>),
}

/// What becomes of the connection to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// It serves the requests that follow.
    Kept,
    /// The gateway ends it.
    Dropped,
    /// Either is right.
    Any,
}

/// An answer as the client has to get it.
#[derive(Debug, Clone, Default)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// `None`: not looked at, as that of the gateway's own pages.
    pub(super) body: Option<Vec<u8>>,
    pub(super) framing: Option<Framing>,
    pub(super) fields: Vec<(&'static str, &'static str)>,
    pub(super) absent: Vec<&'static str>,
    pub(super) trailers: Vec<(&'static str, &'static str)>,
    /// The beginning of another answer, visibly cut, is as good: bytes of it may have left before it was known to be none.
    pub(super) or_cut: bool,
}

/// A request as the endpoint has to get it, without the fields that the gateway adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceivedRequest {
    pub(super) line: String,
    /// Names in lower case. `Host` stands here only if it is not the case's own.
    pub(super) fields: Vec<(String, String)>,
    pub(super) framing: Framing,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
}

/// A request that is refused before the endpoint hears of it, and that ends its connection.
pub(super) fn refused(name: impl Into<String>, status: u16, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        name: name.into(),
        client: vec![Step::Send(bytes.as_ref().to_vec())],
        endpoint: Vec::new(),
        expected: Expected {
            interims: Some(Vec::new()),
            answers: vec![answered(status)],
            client_end: ClientEnd::Closed,
            received: Received::Nothing,
            pool: Pool::Any,
        },
    }
}

/// A request that reaches the endpoint as `received`, is answered 200, and leaves both connections as they were.
pub(super) fn passes(name: impl Into<String>, bytes: impl AsRef<[u8]>, received: ReceivedRequest) -> Case {
    Case {
        name: name.into(),
        client: vec![Step::Send(bytes.as_ref().to_vec())],
        endpoint: Vec::new(),
        expected: Expected {
            interims: Some(Vec::new()),
            answers: vec![answered(200)],
            client_end: ClientEnd::Kept,
            received: Received::Whole(vec![received]),
            pool: Pool::Kept,
        },
    }
}

/// A plain GET that the endpoint answers with these bytes, which reach the client as `answer`.
pub(super) fn replied(name: impl Into<String>, reply: ScriptedReply, answer: Answered) -> Case {
    let mut case = passes(name, get("/"), got("GET / HTTP/1.1"));
    case.endpoint = vec![reply];
    case.expected.answers = vec![answer];
    case
}

/// A plain GET, whose answer from the endpoint is none: the client gets a 502, and the endpoint's connection ends.
pub(super) fn bad_gateway(name: impl Into<String>, reply: ScriptedReply) -> Case {
    replied(name, reply, answered(502)).pool(Pool::Dropped).ends(ClientEnd::Any)
}

impl Case {
    pub(super) fn by(mut self, reply: ScriptedReply) -> Self {
        self.endpoint.push(reply);
        self
    }

    pub(super) fn steps(mut self, steps: Vec<Step>) -> Self {
        self.client = steps;
        self
    }

    pub(super) fn received(mut self, received: Received) -> Self {
        self.expected.received = received;
        self
    }

    pub(super) fn answers(mut self, answers: Vec<Answered>) -> Self {
        self.expected.answers = answers;
        self
    }

    pub(super) fn interims(mut self, statuses: &[u16]) -> Self {
        self.expected.interims = Some(statuses.to_vec());
        self
    }

    pub(super) fn ends(mut self, end: ClientEnd) -> Self {
        self.expected.client_end = end;
        self
    }

    pub(super) fn pool(mut self, pool: Pool) -> Self {
        self.expected.pool = pool;
        self
    }

    /// The methods of the requests that the client sends, as far as they can be told from their first lines.
    pub(super) fn methods(&self) -> Vec<String> {
        let sent: Vec<u8> = self
            .client
            .iter()
            .flat_map(|step| if let Step::Send(bytes) = step { &bytes[..] } else { b"" })
            .copied()
            .collect();
        let text = String::from_utf8_lossy(&sent).into_owned();
        let lines = text.lines().filter(|line| line.contains(" HTTP/"));
        lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }
}

impl ReceivedRequest {
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    pub(super) fn length(mut self, body: impl AsRef<[u8]>) -> Self {
        (self.framing, self.body) = (Framing::Length, body.as_ref().to_vec());
        self
    }

    pub(super) fn chunked(mut self, body: impl AsRef<[u8]>) -> Self {
        (self.framing, self.body) = (Framing::Chunked, body.as_ref().to_vec());
        self
    }

    pub(super) fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Answered {
    pub(super) fn body(mut self, framing: Framing, body: impl AsRef<[u8]>) -> Self {
        (self.framing, self.body) = (Some(framing), Some(body.as_ref().to_vec()));
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(super) fn without(mut self, name: &'static str) -> Self {
        self.absent.push(name);
        self
    }

    pub(super) fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }

    pub(super) fn or_cut(mut self) -> Self {
        self.or_cut = true;
        self
    }
}

/// A request without a body, of this line.
pub(super) fn got(line: impl Into<String>) -> ReceivedRequest {
    ReceivedRequest {
        line: line.into(),
        fields: Vec::new(),
        framing: Framing::None,
        body: Vec::new(),
        trailers: Vec::new(),
    }
}

pub(super) fn answered(status: u16) -> Answered {
    Answered { status, ..Answered::default() }
}

/// The bytes of a GET.
pub(super) fn get(path: &str) -> String {
    get_with(path, "")
}

/// The same with more fields, each with its CRLF.
pub(super) fn get_with(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: $H\r\n{fields}\r\n")
}

/// The bytes of a POST: fields, each with its CRLF, and a body.
pub(super) fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: $H\r\n{fields}\r\n{body}")
}

/// The endpoint answers these bytes once the request is whole, and keeps the connection.
pub(super) fn reply(bytes: impl AsRef<[u8]>) -> ScriptedReply {
    ScriptedReply { at_head: Vec::new(), at_end: bytes.as_ref().to_vec(), then: Then::Keep }
}

/// The same, and then something else than waiting for the next request.
pub(super) fn reply_then(bytes: impl AsRef<[u8]>, then: Then) -> ScriptedReply {
    ScriptedReply { then, ..reply(bytes) }
}

/// The endpoint answers as soon as it has the head.
pub(super) fn early(bytes: impl AsRef<[u8]>, then: Then) -> ScriptedReply {
    ScriptedReply { at_head: bytes.as_ref().to_vec(), at_end: Vec::new(), then }
}
