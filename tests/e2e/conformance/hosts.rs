//! The host of a request: one, valid, and the same wherever it stands (RFC 9112, section 3.2; RFC 9110, section 7.2).

use super::case::{Case, ClientEnd, Received, got, passes, refused};

pub(super) fn cases() -> Vec<Case> {
    [wrong(), contradictory(), taken(), elsewhere()].concat()
}

fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, hosts) in [
        ("none", ""),
        ("two of the same", "host: $H\r\nhost: $H\r\n"),
        ("two that differ", "host: $H\r\nhost: other.example.com\r\n"),
        ("two in different case", "host: $H\r\nHOST: $H\r\n"),
        ("two, the first empty", "host:\r\nhost: $H\r\n"),
        ("two, the last empty", "host: $H\r\nhost:\r\n"),
        ("a list", "host: $H, other.example.com\r\n"),
        ("a list without blanks", "host: $H,other.example.com\r\n"),
        ("two words", "host: $H other.example.com\r\n"),
        ("user information", "host: user@$H\r\n"),
        ("user information and a password", "host: user:secret@$H\r\n"),
        ("a path", "host: $H/\r\n"),
        ("a longer path", "host: $H/a/b\r\n"),
        ("a query", "host: $H?a\r\n"),
        ("a fragment", "host: $H#a\r\n"),
        ("a URL", "host: http://$H\r\n"),
        ("a backslash", "host: $H\\a\r\n"),
        ("a port that is no number", "host: $H:http\r\n"),
        ("a negative port", "host: $H:-1\r\n"),
        ("a port that is too large", "host: $H:65536\r\n"),
        ("a port that is too large by far", "host: $H:18446744073709551696\r\n"),
        ("a signed port", "host: $H:+80\r\n"),
        ("two ports", "host: $H:80:80\r\n"),
        ("two colons", "host: $H::80\r\n"),
        ("a port alone", "host: :80\r\n"),
        ("an open bracket", "host: [::1\r\n"),
        ("a closed bracket", "host: ::1]\r\n"),
        ("brackets around nothing", "host: []\r\n"),
        ("brackets around a name", "host: [$H]\r\n"),
        ("letters behind a bracket", "host: [::1]a\r\n"),
        ("an IPv6 address without brackets", "host: ::1\r\n"),
        ("an empty label", "host: shop..example.com\r\n"),
        ("a dot alone", "host: .\r\n"),
        ("a dot first", "host: .$H\r\n"),
        ("a percent sign", "host: %61.example.com\r\n"),
        ("quotes", "host: \"$H\"\r\n"),
        ("angle brackets", "host: <$H>\r\n"),
        ("a wildcard", "host: *.example.com\r\n"),
        ("bytes over 0x7f", "host: \u{e9}.example.com\r\n"),
        ("a tab inside", "host: a\t$H\r\n"),
    ] {
        cases.push(refused(format!("host: {what}"), 400, format!("GET / HTTP/1.1\r\n{hosts}\r\n")));
    }
    let two = "GET / HTTP/1.0\r\nhost: $H\r\nhost: other.example.com\r\n\r\n";
    cases.push(refused("host: two on HTTP/1.0", 400, two));
    cases
}

/// A target in absolute-form and a field that do not agree.
fn contradictory() -> Vec<Case> {
    [
        ("another host", "http://other.example.com/", "$H"),
        ("another port", "http://$H:81/", "$H"),
        ("a port in the field alone", "http://$H/", "$H:81"),
        ("a subdomain", "http://a.$H/", "$H"),
        ("the port of the other scheme", "http://$H:443/", "$H"),
        ("an empty field", "http://$H/", ""),
        ("user information in the target", "http://user@$H/", "$H"),
        ("user information with a password in the target", "http://user:secret@$H/", "$H"),
        ("an @ alone", "http://@$H/", "$H"),
        ("no host in the target", "http:///a", "$H"),
        ("a port alone in the target", "http://:80/a", "$H"),
        ("a backslash in the target", "http://$H\\@other.example.com/", "$H"),
        ("no slashes in the target", "http:$H/", "$H"),
        ("one slash in the target", "http:/$H/", "$H"),
        ("another scheme", "ftp://$H/", "$H"),
        ("a scheme of WebSocket", "ws://$H/", "$H"),
        ("a blank host in the target", "http://%20/", "$H"),
    ]
    .into_iter()
    .map(|(what, target, host)| {
        refused(format!("absolute-form: {what}"), 400, format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
    })
    .collect()
}

fn taken() -> Vec<Case> {
    let line = || got("GET /a?b HTTP/1.1");
    let mut cases = Vec::new();
    for (what, target) in [
        ("the same host", "http://$H/a?b"),
        ("the scheme's own port", "http://$H:80/a?b"),
        ("a scheme in capitals", "HTTP://$H/a?b"),
        ("https", "https://$H/a?b"),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nhost: $H\r\n\r\n");
        cases.push(passes(format!("absolute-form that is taken: {what}"), bytes, line()));
    }
    let empty = "GET http://$H HTTP/1.1\r\nhost: $H\r\n\r\n";
    cases.push(passes("absolute-form that is taken: no path", empty, got("GET / HTTP/1.1")));
    let query = "GET http://$H?b HTTP/1.1\r\nhost: $H\r\n\r\n";
    cases.push(passes("absolute-form that is taken: a query alone", query, got("GET /?b HTTP/1.1")));
    let old = "GET http://$H/a?b HTTP/1.0\r\n\r\n";
    cases.push(passes("absolute-form that is taken: HTTP/1.0 without a field", old, line()).ends(ClientEnd::Closed));
    for (what, host) in
        [("a port", "$H:8080"), ("the port 80", "$H:80"), ("an empty port", "$H:"), ("a dot at the end", "$H.")]
    {
        let bytes = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        cases.push(passes(format!("host that is taken: {what}"), bytes, got("GET / HTTP/1.1").field("host", host)));
    }
    let blanks = "GET / HTTP/1.1\r\nhost: \t $H \t \r\n\r\n";
    cases.push(passes("host that is taken: blanks around", blanks, got("GET / HTTP/1.1")));
    let last = "GET / HTTP/1.1\r\nx: y\r\nHOST: $H\r\n\r\n";
    cases.push(passes("host that is taken: as the last field", last, got("GET / HTTP/1.1").field("x", "y")));
    cases
}

/// Hosts that are well and that nobody serves.
fn elsewhere() -> Vec<Case> {
    [
        ("unknown", "nobody.example.org"),
        ("an IPv4 address", "192.0.2.1"),
        ("an IPv6 address", "[2001:db8::1]"),
        ("an IPv6 address with a port", "[2001:db8::1]:80"),
    ]
    .into_iter()
    .map(|(what, host)| {
        let case =
            refused(format!("host that nobody has: {what}"), 404, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        case.received(Received::Nothing).ends(ClientEnd::Kept)
    })
    .collect()
}
