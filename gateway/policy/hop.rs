//! Hop-by-hop fields: what a message says about its own connection alone, and what no next hop may see (RFC 9110,
//! section 7.6.1).

use smallvec::SmallVec;

use super::Fields;

/// Fields that belong to one connection without being nominated, and the credentials for a proxy.
const OWN: [&str; 5] = ["keep-alive", "proxy-authorization", "proxy-connection", "te", "upgrade"];

/// Names of fields, lower case.
pub type Names = SmallVec<[Box<str>; 2]>;

/// The names of the fields to drop before a message goes on: those that `Connection` nominates, and those that are
/// hop-by-hop by themselves. `Connection` itself and the framing are the engine's. Most messages have none, and then nothing is
/// allocated.
pub fn hop_by_hop<F: Fields + ?Sized>(fields: &F) -> Names {
    let mut names = Names::new();
    for (name, value) in fields.fields() {
        if let Some(own) = OWN.iter().find(|own| name.eq_ignore_ascii_case(own)) {
            names.push((*own).into());
        } else if name.eq_ignore_ascii_case("connection") {
            nominated(value, &mut names);
        }
    }
    names
}

/// Adds what one `Connection` field nominates.
fn nominated(value: &[u8], names: &mut Names) {
    for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let engine: [&[u8]; 5] = [b"", b"close", b"keep-alive", b"content-length", b"transfer-encoding"];
        if engine.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            continue;
        }
        if let Ok(name) = str::from_utf8(name) {
            names.push(name.to_ascii_lowercase().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nominated_fields_and_those_of_the_connection_are_dropped() {
        for (fields, expected) in [
            (&[("Connection", &b"keep-alive"[..]), ("X-A", b"b")][..], &[][..]),
            (&[("connection", b"close, X-Private ,  ")], &["x-private"]),
            (&[("Connection", b"a"), ("CONNECTION", b"B")], &["a", "b"]),
            (&[("Keep-Alive", b"timeout=5"), ("TE", b"gzip"), ("Upgrade", b"h2c")], &["keep-alive", "te", "upgrade"]),
            (&[("Proxy-Authorization", b"Basic x")], &["proxy-authorization"]),
            (&[("connection", b"Content-Length, Transfer-Encoding")], &[]),
        ] {
            let names = hop_by_hop(fields);
            assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), expected, "{fields:?}");
        }
    }
}
