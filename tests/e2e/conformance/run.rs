//! Plays one case against a gateway, and says what was otherwise than expected, with the bytes of every side.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::case::{Answered, Case, ClientEnd, HOST_MARK, Pool, Received, ReceivedRequest, Step};
use crate::kit::PATIENCE;
use crate::kit::message::{self, Framing, Message, Reading};
use crate::kit::script::{CANARY, Connection, MOMENT, Scripted};

/// Fields that the gateway adds to every request.
const ADDED: [&str; 3] = ["forwarded", "via", "content-length"];
const ADDED_FAMILIES: [&str; 4] = ["x-weir-", "x-forwarded-", "x-real-ip", "x-request-id"];

/// A client's connection: what was sent over it, and what came.
#[derive(Default)]
struct Wire {
    stream: Option<TcpStream>,
    sent: Vec<u8>,
    /// Everything that came.
    came: Vec<u8>,
    /// The part of it that was not looked at yet.
    got: Vec<u8>,
    has_ended: bool,
}

/// Plays `case`; the text of an error says all there is to know.
pub(super) async fn play(case: &Case, host: &str, gateway: SocketAddr, endpoint: &Scripted) -> Result<(), String> {
    let mut wires = [Wire::default(), Wire::default()];
    let played = timeout(PATIENCE, phases(case, host, gateway, endpoint, &mut wires)).await;
    played.unwrap_or_else(|_| Err(format!("not within {PATIENCE:?}"))).map_err(|why| {
        let [client, canary] = &wires;
        let mut text = format!("{}: {why}\n", case.name);
        for (what, bytes) in [
            ("the client sent", &client.sent),
            ("the client got", &client.came),
            ("the other client got", &canary.came),
        ] {
            let _ = writeln!(text, "  {what}:\n{}", readable(bytes));
        }
        for (number, connection) in endpoint.connections().iter().enumerate() {
            let _ = writeln!(text, "  the endpoint got, connection {number}:\n{}", readable(&connection.bytes));
        }
        text
    })
}

async fn phases(
    case: &Case,
    host: &str,
    gateway: SocketAddr,
    endpoint: &Scripted,
    [client, canary]: &mut [Wire; 2],
) -> Result<(), String> {
    client.connect(gateway).await?;
    for step in &case.client {
        client.step(step, host, endpoint).await?;
    }
    let says_close = answers(case, client, host).await?;
    if case.expected.client_end == ClientEnd::Left {
        client.stream = None;
    }
    if let Some((first, _)) = endpoint.connections().iter().enumerate().find(|(_, one)| !one.requests.is_empty()) {
        endpoint.go_on();
        if case.expected.pool == Pool::Dropped {
            let over = || endpoint.connections()[first].is_over;
            until("the gateway ends its connection to the endpoint", over).await?;
        }
    }
    let end = match case.expected.client_end {
        ClientEnd::Any if says_close => ClientEnd::Closed,
        ClientEnd::Any => ClientEnd::Kept,
        end => end,
    };
    match end {
        ClientEnd::Kept if says_close => return Err("the answer says that the connection ends".into()),
        ClientEnd::Closed => {
            while client.read().await? {}
            if !client.got.is_empty() {
                return Err(format!("more bytes before the end: {}", client.got.escape_ascii()));
            }
        }
        ClientEnd::Kept | ClientEnd::Any => client.canary("same", host).await?,
        ClientEnd::Left => {}
    }
    canary.connect(gateway).await?;
    canary.canary("other", host).await?;
    check_endpoint(case, host, &endpoint.connections())
}

/// Reads the interim answers and the answers of a case, and compares them; whether the last one ends the connection.
async fn answers(case: &Case, client: &mut Wire, host: &str) -> Result<bool, String> {
    let expected = &case.expected;
    let mut says_close = expected.answers.is_empty();
    let mut interims = Vec::new();
    let methods = case.methods();
    for (number, answered) in expected.answers.iter().enumerate() {
        let method = methods.get(number).map_or("GET", String::as_str);
        let (message, is_cut) = client.answer(method, &mut interims).await?;
        compare(&message, answered, is_cut, host).map_err(|why| format!("answer {}: {why}", number + 1))?;
        let says = |value: &&str| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
        says_close = is_cut || message.values("connection").iter().any(says);
    }
    if let Some(expected) = expected.interims.as_ref().filter(|expected| **expected != interims) {
        return Err(format!("interim answers {interims:?}, not {expected:?}"));
    }
    // Where the client ends its side within a request, nothing has said so.
    let may_end_itself = case.client.iter().any(|step| matches!(step, Step::End));
    if !says_close && expected.client_end == ClientEnd::Closed && !may_end_itself {
        return Err("the answer does not say that the connection ends".into());
    }
    Ok(says_close)
}

fn compare(message: &Message, expected: &Answered, is_cut: bool, host: &str) -> Result<(), String> {
    let status = message.status();
    if expected.or_cut && is_cut {
        return Ok(());
    }
    if status != expected.status {
        return Err(format!("{status}, not {}", expected.status));
    }
    if is_cut {
        return Err("it is cut".into());
    }
    if expected.framing.is_some_and(|framing| framing != message.framing) {
        return Err(format!("framed by {:?}, not {:?}", message.framing, expected.framing));
    }
    let body = expected.body.as_ref().map(|body| with_host(body, host));
    if let Some(body) = body.filter(|body| *body != message.body) {
        return Err(format!(
            "body {:?}, not {:?}",
            message.body.escape_ascii().to_string(),
            body.escape_ascii().to_string()
        ));
    }
    for (name, value) in &expected.fields {
        if message.values(name) != [*value] {
            return Err(format!("{name}: {:?}, not {value:?}", message.values(name)));
        }
    }
    if let Some(name) = expected.absent.iter().find(|name| !message.values(name).is_empty()) {
        return Err(format!("{name} went through"));
    }
    let trailers: Vec<_> = message.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if trailers != expected.trailers {
        return Err(format!("trailers {trailers:?}, not {:?}", expected.trailers));
    }
    Ok(())
}

/// Compares what the endpoint got with what it has to get.
fn check_endpoint(case: &Case, host: &str, connections: &[Connection]) -> Result<(), String> {
    if let Some(why) = connections.iter().find_map(|connection| connection.wrong.as_ref()) {
        return Err(format!("the endpoint got what is no request: {why}"));
    }
    let is_canary = |request: &&Message| request.target().starts_with(CANARY);
    let requests = connections.iter().flat_map(|connection| &connection.requests).filter(|request| !is_canary(request));
    let requests: Vec<_> = requests.map(|request| in_order(stripped(request, host))).collect();
    let rests = connections.iter().any(|connection| !connection.rest.is_empty());
    match &case.expected.received {
        Received::Whole(expected) | Received::Begun(expected) => {
            let expected: Vec<_> = expected.iter().cloned().map(in_order).collect();
            if requests != expected {
                return Err(format!("the endpoint got {requests:#?}, not {expected:#?}"));
            }
        }
        Received::NothingWhole | Received::Nothing if !requests.is_empty() => {
            return Err(format!("the endpoint got {requests:#?}, and should have got none"));
        }
        Received::Nothing if rests => return Err("the endpoint got the beginning of a request".into()),
        Received::NothingWhole | Received::Nothing | Received::InStep => {}
    }
    if rests && matches!(case.expected.received, Received::Whole(_)) && case.expected.client_end != ClientEnd::Left {
        return Err("the endpoint got the beginning of another request".into());
    }
    if case.expected.pool == Pool::Kept && connections.len() != 1 {
        return Err(format!("{} connections to the endpoint, not one that serves everything", connections.len()));
    }
    Ok(())
}

/// The order of fields of different names means nothing (RFC 9110, section 5.3).
fn in_order(mut request: ReceivedRequest) -> ReceivedRequest {
    request.fields.sort_by(|one, other| one.0.cmp(&other.0));
    request
}

/// The request without what the gateway adds.
fn stripped(request: &Message, host: &str) -> ReceivedRequest {
    let is_added = |(name, value): &&(String, String)| {
        ADDED.contains(&name.as_str())
            || name == "transfer-encoding"
            || (name == "host" && value == host)
            || ADDED_FAMILIES.iter().any(|family| name.starts_with(family))
    };
    let own = |(name, value): &(String, String)| (name.clone(), value.replace(host, HOST_MARK));
    ReceivedRequest {
        line: request.start.replace(host, HOST_MARK),
        fields: request.fields.iter().filter(|field| !is_added(field)).map(own).collect(),
        framing: request.framing,
        body: request.body.clone(),
        trailers: request.trailers.clone(),
    }
}

impl Wire {
    async fn connect(&mut self, gateway: SocketAddr) -> Result<(), String> {
        let stream = TcpStream::connect(gateway).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        self.stream = Some(stream);
        Ok(())
    }

    async fn step(&mut self, step: &Step, host: &str, endpoint: &Scripted) -> Result<(), String> {
        match step {
            Step::Send(bytes) => self.send(&with_host(bytes, host)).await,
            Step::Await(mark) => {
                while !contains(&self.got, mark) {
                    if !self.read().await? {
                        return Err(format!("the connection ends before {mark:?}"));
                    }
                }
            }
            Step::Reach(mark) => {
                let reached = || endpoint.connections().iter().any(|connection| contains(&connection.bytes, mark));
                until(&format!("the endpoint gets {mark:?}"), reached).await?;
            }
            Step::Pause => sleep(MOMENT).await,
            Step::Reset => {
                let stream = self.stream.take().expect("the client is connected");
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(|error| error.to_string())?;
            }
            Step::End => {
                // A connection that the gateway has ended already has no side left to end.
                let _ = self.stream.as_mut().expect("the client is connected").shutdown().await;
            }
        }
        Ok(())
    }

    /// Sends as much as the gateway takes: it may end the connection before it has all.
    async fn send(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        let _ = self.stream.as_mut().expect("the client is connected").write_all(bytes).await;
    }

    /// False at the end of the connection.
    async fn read(&mut self) -> Result<bool, String> {
        if self.has_ended {
            return Ok(false);
        }
        let start = self.got.len();
        let read = self.stream.as_mut().expect("the client is connected").read_buf(&mut self.got).await;
        self.came.extend_from_slice(&self.got[start..]);
        match read {
            Ok(0) => self.has_ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.has_ended = true,
            Err(error) => return Err(format!("reading: {error}")),
        }
        Ok(!self.has_ended)
    }

    /// Takes the next answer; true if it is cut.
    async fn answer(&mut self, method: &str, interims: &mut Vec<u16>) -> Result<(Message, bool), String> {
        loop {
            let (heads, len) = message::interims(&self.got);
            interims.extend(heads.iter().map(Message::status));
            self.got.drain(..len);
            match message::answer(&self.got, method, self.has_ended) {
                Reading::Whole(message, len) => {
                    self.got.drain(..len);
                    return Ok((message, false));
                }
                Reading::Part(head) if self.has_ended => {
                    let Some(head) = head else { return Err("the connection ends before an answer".into()) };
                    self.got.clear();
                    return Ok((head, true));
                }
                Reading::Part(_) => {
                    self.read().await?;
                }
                Reading::Wrong(why) => return Err(format!("the client got what is no answer: {why}")),
            }
        }
    }

    /// Sends a request that nobody can answer in another's place, and looks at its answer.
    async fn canary(&mut self, name: &str, host: &str) -> Result<(), String> {
        let path = format!("{CANARY}{name}");
        self.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await;
        let mut interims = Vec::new();
        let (message, is_cut) =
            self.answer("GET", &mut interims).await.map_err(|why| format!("canary {name}: {why}"))?;
        let expected = Answered { status: 200, ..Answered::default() }.body(Framing::Length, &path);
        compare(&message, &expected, is_cut, host).map_err(|why| format!("canary {name}: {why}"))?;
        if interims.is_empty() { Ok(()) } else { Err(format!("canary {name}: interim answers of another request")) }
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) -> Result<(), String> {
    let end = Instant::now() + PATIENCE / 2;
    while !condition() {
        if Instant::now() > end {
            return Err(format!("{what}: not within {:?}", PATIENCE / 2));
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn contains(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
}

/// The bytes with the case's own host.
fn with_host(bytes: &[u8], host: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + host.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(HOST_MARK.len()).position(|window| window == HOST_MARK.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(host.as_bytes());
        rest = &rest[at + HOST_MARK.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Bytes as text, a line for each line, long ones shortened.
fn readable(bytes: &[u8]) -> String {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let text = line.escape_ascii().to_string();
        if text.len() > 200 { format!("    {}… ({} bytes)", &text[..160], line.len()) } else { format!("    {text}") }
    });
    let lines: Vec<_> = lines.take(60).collect();
    if lines.is_empty() { "    (nothing)".into() } else { lines.join("\n") }
}
