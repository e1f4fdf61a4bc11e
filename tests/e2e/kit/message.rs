//! A strict reader of HTTP/1.1 messages, the second opinion on every byte: what it refuses is no message, and what it takes
//! has one reading only (RFC 9112). Shares no code with the gateway.

/// The end of a body, as its head says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection.
    ToEnd,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    /// Names in lower case, values without blanks around them.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// What bytes are, read from the first one.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The beginning of a message; its head if that is whole.
    Part(Option<Message>),
    /// A message, and the bytes that it takes.
    Whole(Message, usize),
    /// No message, with the reason.
    Wrong(String),
}

impl Message {
    /// Values of every field of this name, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.start.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }

    fn is_interim(&self) -> bool {
        self.status() / 100 == 1 && self.status() != 101
    }
}

/// Reads a request.
pub(crate) fn request(bytes: &[u8]) -> Reading {
    read(bytes, |head| {
        let parts: Vec<&str> = head.start.split(' ').collect();
        let [method, target, "HTTP/1.1"] = parts[..] else { return Err("no request line of HTTP/1.1".into()) };
        if !is_token(method) || target.is_empty() {
            return Err("no method or no target".into());
        }
        if head.values("host").len() != 1 {
            return Err("not one Host".into());
        }
        Ok(framing(head)?.unwrap_or(Framing::None))
    })
}

/// Reads an answer to a request of this method. `ended`: nothing follows these bytes.
pub(crate) fn answer(bytes: &[u8], method: &str, ended: bool) -> Reading {
    let mut to_end = false;
    let reading = read(bytes, |head| {
        let line = head.start.strip_prefix("HTTP/1.1 ").ok_or("no status line of HTTP/1.1")?;
        let three = line.len() >= 3 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
        if !three || !(line.len() == 3 || line[3..].starts_with(' ')) || !(100..600).contains(&head.status()) {
            return Err("no status".into());
        }
        let framed = framing(head)?;
        let status = head.status();
        if (status < 200 || status == 204) && framed.is_some() {
            return Err(format!("a {status} has no framing"));
        }
        if status < 200 || status == 204 || status == 304 || method == "HEAD" {
            return Ok(Framing::None);
        }
        to_end = framed.is_none();
        Ok(framed.unwrap_or(Framing::ToEnd))
    });
    match reading {
        Reading::Part(Some(mut head)) if to_end && ended => {
            head.body = bytes[end_of_head(bytes)..].to_vec();
            Reading::Whole(head, bytes.len())
        }
        reading => reading,
    }
}

/// Reads the interim answers at the start of these bytes: their heads, and the bytes that they take.
pub(crate) fn interims(bytes: &[u8]) -> (Vec<Message>, usize) {
    let (mut heads, mut at) = (Vec::new(), 0);
    while let Reading::Whole(head, len) = answer(&bytes[at..], "GET", false) {
        if !head.is_interim() {
            break;
        }
        heads.push(head);
        at += len;
    }
    (heads, at)
}

fn end_of_head(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4)
}

fn read(bytes: &[u8], framing: impl FnOnce(&Message) -> Result<Framing, String>) -> Reading {
    let end = end_of_head(bytes);
    if !bytes[..end].ends_with(b"\r\n\r\n") {
        let broken = |at: usize| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r');
        return match (0..bytes.len()).find(|at| broken(*at)) {
            Some(_) => Reading::Wrong("a line ends in a bare LF".into()),
            None => Reading::Part(None),
        };
    }
    let head = match head(&bytes[..end - 4]) {
        Ok(head) => head,
        Err(why) => return Reading::Wrong(why),
    };
    match framing(&head) {
        Ok(framing) => body(Message { framing, ..head }, bytes, end),
        Err(why) => Reading::Wrong(why),
    }
}

fn head(bytes: &[u8]) -> Result<Message, String> {
    let mut lines = split_lines(bytes)?.into_iter();
    let start = lines.next().ok_or("no first line")?;
    let fields = lines.map(|line| field(&line)).collect::<Result<_, _>>()?;
    Ok(Message { start, fields, framing: Framing::None, body: Vec::new(), trailers: Vec::new() })
}

/// Lines without their ends; one character for each byte.
fn split_lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    let control = |c: char| (c < ' ' && c != '\t') || c == '\x7f';
    match lines.iter().find(|line| line.contains(control)) {
        Some(line) => Err(format!("a control character in {line:?}")),
        None => Ok(lines),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
    if !is_token(name) {
        return Err(format!("no name of a field: {name:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The framing that fields say, if they do.
fn framing(head: &Message) -> Result<Option<Framing>, String> {
    let (lengths, codings) = (head.values("content-length"), head.values("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(None),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(Framing::Length))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
        _ => Err(format!("framing that can be read in two ways: {lengths:?} {codings:?}")),
    }
}

fn body(mut message: Message, bytes: &[u8], start: usize) -> Reading {
    match message.framing {
        Framing::None => Reading::Whole(message, start),
        Framing::ToEnd => Reading::Part(Some(message)),
        Framing::Length => {
            let Ok(length) = message.values("content-length")[0].parse::<usize>() else {
                return Reading::Wrong("a length that is no number".into());
            };
            if bytes.len() - start < length {
                return Reading::Part(Some(message));
            }
            message.body = bytes[start..start + length].to_vec();
            Reading::Whole(message, start + length)
        }
        Framing::Chunked => match chunks(&bytes[start..], &mut message) {
            Ok(Some(len)) => Reading::Whole(message, start + len),
            Ok(None) => Reading::Part(Some(message)),
            Err(why) => Reading::Wrong(why),
        },
    }
}

/// Reads chunks and trailers into the message; the bytes that they take, `None` while there are too few.
fn chunks(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, String> {
    let line_end = |at: usize| bytes[at..].windows(2).position(|window| window == b"\r\n").map(|found| at + found);
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let Some(end) = line_end(at) else {
            return if bytes[at..].contains(&b'\n') { Err("a bare LF in chunks".into()) } else { Ok(None) };
        };
        let line = split_lines(&bytes[at..end])?.concat();
        let size = line.split(';').next().unwrap_or_default().trim_end_matches([' ', '\t']);
        if size.is_empty() || size.len() > 16 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("no size of a chunk: {line:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|error| error.to_string())?;
        at = end + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at.saturating_add(size).saturating_add(2)) else { return Ok(None) };
        let data = chunk.strip_suffix(b"\r\n").ok_or("a chunk that does not end in CRLF")?;
        body.extend_from_slice(data);
        at += chunk.len();
    }
    let mut trailers = Vec::new();
    loop {
        let Some(end) = line_end(at) else { return Ok(None) };
        let line = split_lines(&bytes[at..end])?.concat();
        at = end + 2;
        if line.is_empty() {
            (message.body, message.trailers) = (body, trailers);
            return Ok(Some(at));
        }
        trailers.push(field(&line)?);
    }
}

#[test]
fn the_strict_reader_takes_one_reading_only() {
    let whole = |text: &str| match request(text.as_bytes()) {
        Reading::Whole(message, len) => Some((message.body, message.framing, len)),
        Reading::Part(_) | Reading::Wrong(_) => None,
    };
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n";
    assert_eq!(whole(chunked), Some((b"abc".to_vec(), Framing::Chunked, chunked.len())));
    let length = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nabc";
    assert_eq!(whole(length), Some((b"ab".to_vec(), Framing::Length, length.len() - 1)));
    for wrong in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
    ] {
        assert!(matches!(request(wrong.as_bytes()), Reading::Wrong(_)), "{wrong:?}");
    }
    assert!(matches!(answer(b"HTTP/1.1 200 OK\r\n\r\nab", "GET", false), Reading::Part(Some(_))));
    let Reading::Whole(whole, _) = answer(b"HTTP/1.1 200 OK\r\n\r\nab", "GET", true) else { panic!("it ended") };
    assert_eq!((whole.body.as_slice(), whole.framing), (&b"ab"[..], Framing::ToEnd));
    assert!(matches!(answer(b"HTTP/1.1 204 A\r\ncontent-length: 0\r\n\r\n", "GET", true), Reading::Wrong(_)));
    assert_eq!(interims(b"HTTP/1.1 100 A\r\n\r\nHTTP/1.1 103 B\r\n\r\nHTTP/1.1 200 C\r\n\r\n").0.len(), 2);
}
