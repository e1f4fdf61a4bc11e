//! Offers of clients to upgrade a connection, in the field `Upgrade` (RFC 9110, 7.8).
//!
//! Clients offer more than they need: Java's and curl's offer `h2c` with any request. An offer that the version does not
//! take is left out, and what remains is an ordinary request over a pooled connection.

use config::model::{Protocol, Upgrades};

use super::Fields;
use super::forwarded::values;

/// The offer for the endpoint, made of that in the fields of an HTTP/1.1 request: the protocols that a version with
/// endpoints that speak `spoken` takes, as the client wrote them. `None` when there are none, or `Connection` does not name the field (RFC 9110, 7.8). A
/// request with a body offers nothing: until the body has ended, the protocol of its bytes cannot be known.
pub fn offered<F: Fields + ?Sized>(fields: &F, taken: &Upgrades, spoken: Protocol) -> Option<String> {
    let has_body = values(fields, "transfer-encoding").next().is_some()
        || values(fields, "content-length").any(|length| length != b"0");
    let mut options = values(fields, "connection").flat_map(|value| value.split(|&byte| byte == b','));
    let is_asked = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    if has_body || !is_asked {
        return None;
    }
    let offers = values(fields, "upgrade").flat_map(|value| value.split(|&byte| byte == b','));
    let mut offered = String::new();
    for protocol in offers.map(<[u8]>::trim_ascii).filter(|protocol| taken.takes(protocol, spoken)) {
        if !offered.is_empty() {
            offered.push_str(", ");
        }
        offered.push_str(str::from_utf8(protocol).ok()?);
    }
    (!offered.is_empty()).then_some(offered)
}

/// True if the fields of a 101 change to nothing but protocols of this [offer](offered): a 101 has to name what it changes to, and may
/// choose only from what it was offered (RFC 9110, 7.8).
pub fn is_of<F: Fields + ?Sized>(fields: &F, offer: &str) -> bool {
    let mut chosen = values(fields, "upgrade").flat_map(|value| value.split(|&byte| byte == b',')).peekable();
    let is_offered = |chosen: &[u8]| offer.split(',').any(|one| one.trim().as_bytes().eq_ignore_ascii_case(chosen));
    chosen.peek().is_some() && chosen.all(|chosen| is_offered(chosen.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_changes_to_what_was_offered_alone() {
        for (offer, chosen, expected) in [
            ("websocket", &["websocket"][..], true),
            ("WebSocket", &[" websocket "], true),
            ("tunnel, websocket", &["websocket"], true),
            ("tunnel, websocket", &["websocket", "tunnel"], true),
            ("websocket", &["h2c"], false),
            ("websocket", &["websocket, h2c"], false),
            ("websocket", &["websocket", "h2c"], false),
            ("websocket", &["websocket/13"], false),
            ("websocket", &[""], false),
            ("websocket", &[], false),
        ] {
            let fields: Vec<(&str, &[u8])> = chosen.iter().map(|value| ("Upgrade", value.as_bytes())).collect();
            assert_eq!(is_of(&fields[..], offer), expected, "{offer}: {chosen:?}");
        }
    }

    fn asked(taken: &Upgrades, fields: &[(&str, &str)]) -> Option<String> {
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        let fields: Vec<(&str, &[u8])> = fields.chain([("Connection", &b"keep-alive, Upgrade"[..])]).collect();
        offered(&fields[..], taken, Protocol::Http1)
    }

    #[test]
    fn only_what_the_version_takes_is_offered() {
        let websocket = Upgrades::default();
        for (fields, expected) in [
            (&[("upgrade", "websocket")][..], Some("websocket")),
            (&[("Upgrade", " WebSocket ")], Some("WebSocket")),
            (&[("upgrade", "h2c")], None),
            (&[("upgrade", "h2c, websocket,, TLS/1.2")], Some("websocket")),
            (&[("upgrade", "h2c"), ("upgrade", "websocket")], Some("websocket")),
            (&[("upgrade", "websockets")], None),
            (&[("upgrade", "")], None),
            (&[], None),
            (&[("upgrade", "websocket"), ("content-length", "0")], Some("websocket")),
            (&[("upgrade", "websocket"), ("content-length", "5")], None),
            (&[("upgrade", "websocket"), ("transfer-encoding", "chunked")], None),
        ] {
            assert_eq!(asked(&websocket, fields).as_deref(), expected, "{fields:?}");
        }
        let two = Upgrades::new(vec!["websocket".into(), "tunnel".into()]);
        assert_eq!(asked(&two, &[("upgrade", "Tunnel, h2c, websocket")]).as_deref(), Some("Tunnel, websocket"));
        let none = Upgrades::new(Vec::new());
        assert_eq!(asked(&none, &[("upgrade", "websocket")]), None);
    }

    #[test]
    fn an_offer_that_the_connection_does_not_name_is_none() {
        let fields: [(&str, &[u8]); 2] = [("upgrade", b"websocket"), ("connection", b"keep-alive")];
        assert_eq!(offered(&fields[..], &Upgrades::default(), Protocol::Http1), None);
    }

    #[test]
    fn endpoints_that_speak_http2_see_only_what_is_listed() {
        let fields: [(&str, &[u8]); 2] = [("upgrade", b"websocket"), ("connection", b"upgrade")];
        let listed = Upgrades::new(vec!["websocket".into()]);
        for spoken in [Protocol::H2, Protocol::H2c] {
            assert_eq!(offered(&fields[..], &Upgrades::default(), spoken), None, "{spoken:?}");
            assert_eq!(offered(&fields[..], &listed, spoken).as_deref(), Some("websocket"), "{spoken:?}");
        }
    }
}
