//! What pingora is known to do otherwise: one table, each row with the reason. The rows are held like the cases themselves: when
//! pingora changes, one fails.

use super::case::{Case, ClientEnd, Expected, Pool, Received, answered};

/// A case that goes otherwise.
pub(super) struct Difference {
    pub(super) name: &'static str,
    /// Turns what is right into what happens.
    happens: fn(&mut Expected),
}

macro_rules! table {
    ($($happens:ident [$($name:literal,)*])*) => {
        vec![$($(Difference { name: $name, happens: $happens },)*)*]
    };
}

/// The table. The reasons stand with the functions below.
pub(super) fn of_pingora() -> Vec<Difference> {
    table! {
        without_trailers [
            "announced trailer: x-sum",
            "trailers announced",
            "trailers announced in a list",
            "trailers of gRPC-Web",
            "trailers unannounced beside one that is",
        ]
        passed_on [
            "chunks of an answer: a trailer without a colon",
            "chunks of an answer: an extension with a bare LF",
            "chunks of an answer: an extra CRLF between chunks",
            "chunks of an answer: no size",
            "framing of an answer: both framings",
            "framing of an answer: both framings, the coding first",
            "framing of an answer: chunks of HTTP/1.0",
            "garbage: LF as the last line end",
            "garbage: LF behind the status",
            "garbage: LF everywhere",
            "garbage: a bare LF behind a field",
            "garbage: a blank before the colon",
            "garbage: a folded field",
            "flood: 20 000 interim answers",
        ]
        waiting_for_the_body [
            "early answer and closes, of a length",
            "early answer and closes, of chunks",
            "early answer and keeps, of a length",
            "early answer and keeps, of chunks",
        ]
        on_own_connections [
            "tunnel: a request behind one that was refused",
            "tunnel: refused by the endpoint",
            "tunnel: the endpoint just answers",
        ]
        switched [
            "switch: to another protocol",
        ]
    }
}

/// pingora drops the trailers of HTTP/1.1, and so the gateway does not announce them.
fn without_trailers(expected: &mut Expected) {
    expected.answers.iter_mut().for_each(|answer| answer.trailers.clear());
    if let Received::Whole(requests) = &mut expected.received {
        for request in requests {
            request.trailers.clear();
            request.fields.retain(|(name, _)| name != "trailer");
        }
    }
}

/// pingora reads the heads and chunks of endpoints with httparse in its lenient modes, takes out a length beside chunks
/// before anybody sees it, and counts no interim answers. It writes each of them anew, so that the client gets one reading.
fn passed_on(expected: &mut Expected) {
    expected.answers = vec![answered(200)];
    (expected.client_end, expected.pool) = (ClientEnd::Any, Pool::Any);
}

/// pingora ends a client's connection only once the rest of its body came, or took too long.
fn waiting_for_the_body(expected: &mut Expected) {
    expected.client_end = ClientEnd::Left;
}

/// pingora asks for an upgrade over a connection of its own, and keeps none that was not upgraded.
fn on_own_connections(expected: &mut Expected) {
    expected.pool = Pool::Any;
}

/// Which protocol an endpoint switches to is not compared with the offer.
fn switched(expected: &mut Expected) {
    expected.answers = vec![answered(101)];
    expected.client_end = ClientEnd::Left;
}

/// Puts into the cases what happens on pingora's lane.
pub(super) fn apply(cases: &mut [Case]) {
    for difference in of_pingora() {
        for case in cases.iter_mut().filter(|case| case.name == difference.name) {
            (difference.happens)(&mut case.expected);
        }
    }
}
