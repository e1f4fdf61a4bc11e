//! The access-log line: one request as one JSON object, written into a buffer that is used again.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::end::EndReason;
use super::escape;

/// The most bytes of one field from outside (path, user agent …) that a line shows; what is cut ends in `…`.
pub const MAX_FIELD: usize = 2048;

/// One request. What is `None` is left out of the line: of a head that was refused little is known, and nothing is made up.
/// Fields from outside are bytes: anything may be in them.
#[derive(Debug, Clone, Copy)]
pub struct AccessLine<'a> {
    /// When the request's first byte came, since 1970.
    pub time: Duration,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// To the first byte of the answer's head, as sent to the client.
    pub ttfb: Option<Duration>,
    /// Connecting to the endpoint of the last attempt, TLS included; `None` on a reused connection.
    pub upstream_connect: Option<Duration>,
    /// From the request's last byte to the endpoint to the head of its answer, in the last attempt.
    pub upstream_time: Option<Duration>,
    /// As received.
    pub method: Option<&'a [u8]>,
    /// As received, port included.
    pub host: Option<&'a [u8]>,
    /// The whole request target as received, where path and query do not say the same: in absolute-form, or of a head that
    /// was refused.
    pub target: Option<&'a [u8]>,
    /// As received, without the query.
    pub path: Option<&'a [u8]>,
    /// As received, without `?`.
    pub query: Option<&'a [u8]>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: Option<&'static str>,
    /// What the client got; `None` when nothing was sent.
    pub status: Option<u16>,
    /// What the endpoint of the last attempt said.
    pub upstream_status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The client as far as trusted proxies tell.
    pub client: IpAddr,
    /// The other end of the socket.
    pub peer: IpAddr,
    /// The path pattern of the route.
    pub route: Option<&'a str>,
    /// Where it resolved to.
    pub resolved: Option<Resolved<'a>>,
    /// Revision of the snapshot that served it.
    pub revision: Option<u64>,
    /// Address of the endpoint of the last attempt.
    pub endpoint: Option<&'a str>,
    /// Attempts made at endpoints.
    pub attempts: u32,
    /// Whether the last attempt reused a connection.
    pub reused: bool,
    /// TLS version of the client's connection, such as `TLSv1.3`.
    pub tls: Option<&'a str>,
    /// Server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// `x-request-id`.
    pub request_id: &'a [u8],
    /// From `traceparent`.
    pub trace_id: Option<&'a [u8]>,
    /// `user-agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `referer`; its query is redacted when queries are.
    pub referer: Option<&'a [u8]>,
    /// Requests since the line before that were refused as this one is and got no line (see
    /// [`LineRate`](super::LineRate)).
    pub suppressed: u64,
    /// How it ended.
    pub end: EndReason,
}

/// Where a request resolved to.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    /// The function.
    pub function: &'a str,
    /// The alias; `None` for a direct call of a version.
    pub alias: Option<&'a str>,
    /// The version that answered.
    pub version: config::value::name::VersionId,
    /// The version that was chosen, where another one answered in its place.
    pub shielded_from: Option<config::value::name::VersionId>,
    /// Why the version was chosen: `rule`, `bucket`, `slot` …
    pub reason: &'static str,
    /// Which rule, bucket or slot: a key and its number.
    pub position: Option<(&'static str, u64)>,
    /// The parts that the alias had carried over when the slot was drawn: `1=-250,2=250`.
    pub owed: Option<&'a str>,
}

impl AccessLine<'_> {
    /// Appends the line and its `\n`. With `redact_query` values of query parameters are written as `-`.
    pub fn write(&self, out: &mut Vec<u8>, redact_query: bool) {
        let mut object = Object::open(out);
        object.time("time", self.time);
        object.millis("duration_ms", Some(self.duration));
        object.millis("ttfb_ms", self.ttfb);
        object.millis("upstream_connect_ms", self.upstream_connect);
        object.millis("upstream_ms", self.upstream_time);
        object.bytes("method", self.method);
        object.bytes("host", self.host);
        object.url("target", self.target, redact_query);
        object.bytes("path", self.path);
        object.query("query", self.query, redact_query);
        object.plain("protocol", self.protocol);
        object.number("status", self.status.map(u64::from));
        object.number("upstream_status", self.upstream_status.map(u64::from));
        object.number("bytes_in", Some(self.bytes_in));
        object.number("bytes_out", Some(self.bytes_out));
        object.display("client", self.client);
        object.display("peer", self.peer);
        object.bytes("route", self.route.map(str::as_bytes));
        if let Some(resolved) = &self.resolved {
            object.plain("function", Some(resolved.function));
            object.plain("alias", resolved.alias);
            object.display("version", resolved.version);
            if let Some(version) = resolved.shielded_from {
                object.display("shielded_from", version);
            }
            object.plain("reason", Some(resolved.reason));
            if let Some((key, number)) = resolved.position {
                object.number(key, Some(number));
            }
            object.plain("owed", resolved.owed);
        }
        object.number("revision", self.revision);
        if self.attempts > 0 {
            object.plain("endpoint", self.endpoint);
            object.number("attempts", Some(u64::from(self.attempts)));
            object.key("reused").extend_from_slice(if self.reused { b"true" } else { b"false" });
        }
        object.plain("tls", self.tls);
        object.bytes("sni", self.sni.map(str::as_bytes));
        object.bytes("request_id", Some(self.request_id));
        object.bytes("trace_id", self.trace_id);
        object.bytes("user_agent", self.user_agent);
        object.url("referer", self.referer, redact_query);
        object.number("suppressed", (self.suppressed > 0).then_some(self.suppressed));
        object.plain("end", Some(self.end.code()));
        object.close();
    }
}

/// A JSON object being written. Keys are ours and need no escaping.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn close(self) {
        self.out.extend_from_slice(b"}\n");
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(if std::mem::take(&mut self.first) { b"\"" } else { b",\"" });
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A text of our own that needs no escaping: a name, a code.
    fn plain(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            let out = self.key(key);
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
    }

    /// A text from outside.
    fn bytes(&mut self, key: &str, bytes: Option<&[u8]>) {
        if let Some(bytes) = bytes {
            let out = self.key(key);
            out.push(b'"');
            string(out, bytes);
            out.push(b'"');
        }
    }

    /// A URL or request target; its query is redacted like any other.
    fn url(&mut self, key: &str, url: Option<&[u8]>, redacted: bool) {
        let query = url.and_then(|url| url.iter().position(|byte| *byte == b'?'));
        let (Some(url), Some(mark), true) = (url, query, redacted) else { return self.bytes(key, url) };
        let out = self.key(key);
        out.push(b'"');
        string(out, &url[..mark]);
        out.push(b'?');
        redact(out, &url[mark + 1..]);
        out.push(b'"');
    }

    fn query(&mut self, key: &str, query: Option<&[u8]>, redacted: bool) {
        match query {
            Some(query) if redacted => {
                let out = self.key(key);
                out.push(b'"');
                redact(out, query);
                out.push(b'"');
            }
            query => self.bytes(key, query),
        }
    }

    fn number(&mut self, key: &str, number: Option<u64>) {
        if let Some(number) = number {
            let out = self.key(key);
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
    }

    /// An address or a version: its text needs no escaping.
    fn display(&mut self, key: &str, value: impl std::fmt::Display) {
        write!(self.key(key), "\"{value}\"").expect("writing to memory cannot fail");
    }

    /// Milliseconds with three decimals.
    fn millis(&mut self, key: &str, time: Option<Duration>) {
        if let Some(time) = time {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let out = self.key(key);
            out.extend_from_slice(itoa::Buffer::new().format(micros / 1000).as_bytes());
            out.push(b'.');
            digits(out, micros % 1000, 3);
        }
    }

    /// RFC 3339 in UTC with microseconds.
    fn time(&mut self, key: &str, unix: Duration) {
        let (days, second) = (unix.as_secs() / 86_400, unix.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let out = self.key(key);
        out.push(b'"');
        for (number, width, after) in [
            (year, 4, b'-'),
            (month, 2, b'-'),
            (day, 2, b'T'),
            (second / 3600, 2, b':'),
            (second / 60 % 60, 2, b':'),
            (second % 60, 2, b'.'),
            (u64::from(unix.subsec_micros()), 6, b'Z'),
        ] {
            digits(out, number, width);
            out.push(after);
        }
        out.push(b'"');
    }
}

/// The last `width` decimal digits of `number`, with leading zeros.
fn digits(out: &mut Vec<u8>, number: u64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + u8::try_from(number / 10_u64.pow(place) % 10).expect("a digit"));
    }
}

/// Days since 1970-01-01 to year, month, day (Howard Hinnant, `civil_from_days`, for days that are not negative).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The inside of a JSON string: `"`, `\` and what [`escape`] hides escaped, bytes that are no UTF-8 as U+FFFD, cut after
/// [`MAX_FIELD`] bytes.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let shown = &bytes[..bytes.len().min(MAX_FIELD)];
    for chunk in shown.utf8_chunks() {
        escape::json_string(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if shown.len() < bytes.len() {
        out.extend_from_slice("…".as_bytes());
    }
}

/// A query with its names but not its values; a parameter without `=` may be a value, so it is hidden too.
fn redact(out: &mut Vec<u8>, query: &[u8]) {
    let shown = &query[..query.len().min(MAX_FIELD)];
    for (index, parameter) in shown.split(|b| *b == b'&').enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        if let Some(equals) = parameter.iter().position(|b| *b == b'=') {
            string(out, &parameter[..=equals]);
        }
        if !parameter.is_empty() {
            out.push(b'-');
        }
    }
    if shown.len() < query.len() {
        out.extend_from_slice("…".as_bytes());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use config::value::name::VersionId;
    use proptest::prelude::*;

    use super::*;

    pub(in crate::log) fn smallest() -> AccessLine<'static> {
        AccessLine {
            time: Duration::new(1_795_237_121, 123_456_789),
            duration: Duration::from_micros(12_345),
            ttfb: None,
            upstream_connect: None,
            upstream_time: None,
            method: Some(b"GET"),
            host: Some(b"shop.example.com"),
            target: None,
            path: Some(b"/"),
            query: None,
            protocol: Some("HTTP/1.1"),
            status: Some(404),
            upstream_status: None,
            bytes_in: 0,
            bytes_out: 52,
            client: "203.0.113.5".parse().unwrap(),
            peer: "10.0.0.2".parse().unwrap(),
            route: None,
            resolved: None,
            revision: Some(7),
            endpoint: None,
            attempts: 0,
            reused: false,
            tls: None,
            sni: None,
            request_id: b"id-1",
            trace_id: None,
            user_agent: None,
            referer: None,
            suppressed: 0,
            end: EndReason::NoRoute,
        }
    }

    fn written(line: &AccessLine<'_>, redact_query: bool) -> String {
        let mut out = Vec::new();
        line.write(&mut out, redact_query);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_unresolved_request() {
        assert_eq!(
            written(&smallest(), false),
            concat!(
                r#"{"time":"2026-11-21T04:58:41.123456Z","duration_ms":12.345,"method":"GET","host":"shop.example.com","#,
                r#""path":"/","protocol":"HTTP/1.1","status":404,"bytes_in":0,"bytes_out":52,"client":"203.0.113.5","#,
                r#""peer":"10.0.0.2","revision":7,"request_id":"id-1","end":"NR"}"#,
                "\n"
            )
        );
    }

    fn largest() -> AccessLine<'static> {
        AccessLine {
            ttfb: Some(Duration::from_micros(9)),
            upstream_connect: Some(Duration::from_micros(1_200)),
            upstream_time: Some(Duration::from_secs(30)),
            query: Some(b"token=s3cret&debug"),
            status: Some(200),
            upstream_status: Some(503),
            bytes_in: u64::MAX,
            route: Some("/shop/*"),
            resolved: Some(Resolved {
                function: "shop",
                alias: Some("prod"),
                version: VersionId::number(2).unwrap(),
                shielded_from: VersionId::number(3),
                reason: "bucket",
                position: Some(("bucket", 9876)),
                owed: None,
            }),
            endpoint: Some("10.0.0.12:8080"),
            attempts: 2,
            reused: true,
            tls: Some("TLSv1.3"),
            sni: Some("shop.example.com"),
            trace_id: Some(b"4bf92f3577b34da6a3ce929d0e0e4736"),
            user_agent: Some(b"curl/8"),
            referer: Some(b"https://a.example/?q=s3cret"),
            end: EndReason::Answered,
            ..smallest()
        }
    }

    #[test]
    fn a_request_with_everything() {
        assert_eq!(
            written(&largest(), false),
            concat!(
                r#"{"time":"2026-11-21T04:58:41.123456Z","duration_ms":12.345,"ttfb_ms":0.009,"upstream_connect_ms":1.200,"#,
                r#""upstream_ms":30000.000,"method":"GET","host":"shop.example.com","path":"/","query":"token=s3cret&debug","#,
                r#""protocol":"HTTP/1.1","status":200,"upstream_status":503,"bytes_in":18446744073709551615,"bytes_out":52,"#,
                r#""client":"203.0.113.5","peer":"10.0.0.2","route":"/shop/*","function":"shop","alias":"prod","version":"2","shielded_from":"3","#,
                r#""reason":"bucket","bucket":9876,"revision":7,"endpoint":"10.0.0.12:8080","attempts":2,"reused":true,"#,
                r#""tls":"TLSv1.3","sni":"shop.example.com","request_id":"id-1","#,
                r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user_agent":"curl/8","#,
                r#""referer":"https://a.example/?q=s3cret","end":"ok"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn redacted_queries_keep_names_only() {
        let line = written(&largest(), true);
        assert!(!line.contains("s3cret") && !line.contains("debug"), "{line}");
        assert!(line.contains(r#""query":"token=-&-""#), "{line}");
        assert!(line.contains(r#""referer":"https://a.example/?q=-""#), "{line}");
    }

    #[test]
    fn hostile_bytes_stay_inside_their_string() {
        let line = AccessLine {
            path: Some(b"/\"\\\n\x00\x1b\x7f\xff\xc3\xa9"),
            user_agent: Some(b"\",\"status\":200,\"x\":\""),
            ..smallest()
        };
        let text = written(&line, false);
        assert!(text.contains(r#""path":"/\"\\\u000a\u0000\u001b\u007f�é""#), "{text}");
        assert!(text.contains(r#""user_agent":"\",\"status\":200,\"x\":\"""#), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn long_fields_are_cut_visibly() {
        let long = [b'a'; MAX_FIELD + 1];
        let text = written(&AccessLine { user_agent: Some(&long), ..smallest() }, false);
        assert!(text.contains(&format!("{}…\"", "a".repeat(MAX_FIELD))), "{text}");
    }

    #[test]
    fn dates_are_right() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (1_767_225_599, "2025-12-31T23:59:59"),
        ] {
            let line = written(&AccessLine { time: Duration::from_secs(unix), ..smallest() }, false);
            assert!(line.contains(&format!("\"{text}.000000Z\"")), "{line}");
        }
    }

    #[test]
    fn a_refused_head_says_what_is_known_and_no_more() {
        let line = AccessLine {
            method: None,
            host: None,
            target: Some(b"admin\xff?token=s3cret"),
            path: None,
            protocol: None,
            status: Some(400),
            revision: None,
            suppressed: 12,
            end: EndReason::BadRequest,
            ..smallest()
        };
        assert_eq!(
            written(&line, true),
            concat!(
                r#"{"time":"2026-11-21T04:58:41.123456Z","duration_ms":12.345,"target":"admin�?token=-","status":400,"#,
                r#""bytes_in":0,"bytes_out":52,"client":"203.0.113.5","peer":"10.0.0.2","request_id":"id-1","#,
                r#""suppressed":12,"end":"DPE"}"#,
                "\n"
            )
        );
        let long = [b'a'; MAX_FIELD + 1];
        let text = written(&AccessLine { target: Some(&long), ..line }, true);
        assert!(text.contains(&format!("\"target\":\"{}…\"", "a".repeat(MAX_FIELD))), "{text}");
    }

    /// Bytes, often those of characters that no line may hold.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let hidden = "\0\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\"\\?&=\n";
        let hidden: Vec<_> = hidden.chars().map(|character| character.to_string().into_bytes()).collect();
        let piece = prop_oneof![prop::sample::select(hidden), prop::collection::vec(any::<u8>(), 0..8)];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_that_says_what_was_sent(
            (path, query, host, agent) in (hostile(), hostile(), hostile(), hostile()),
            (referer, target, method, id) in (hostile(), hostile(), hostile(), hostile()),
            redact in any::<bool>(),
        ) {
            let line = AccessLine {
                method: Some(&method),
                host: Some(&host),
                target: Some(&target),
                path: Some(&path),
                query: Some(&query),
                request_id: &id,
                trace_id: Some(&id),
                user_agent: Some(&agent),
                referer: Some(&referer),
                sni: Some("\u{202e}\u{9b}"),
                ..largest()
            };
            let text = written(&line, redact);
            let line = text.strip_suffix('\n').unwrap();
            prop_assert!(!line.chars().any(escape::is_hidden), "{:?}", line);
            let read: serde_json::Value = serde_json::from_str(line).unwrap();
            let mut sent =
                vec![("path", &path), ("host", &host), ("user_agent", &agent), ("method", &method), ("trace_id", &id)];
            if !redact {
                sent.extend([("query", &query), ("referer", &referer), ("target", &target)]);
            }
            for (key, bytes) in sent {
                prop_assert_eq!(&read[key], &*String::from_utf8_lossy(bytes));
            }
        }
    }
}
