//! Scalars, read from their text: durations, sizes, numbers, switches, templates, header names.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::text::parse::place::{Place, Reading, quoted};
use crate::value::decimal::{parse_parts, plain_digits, show_parts};
use crate::value::duration::{parse_duration, show_duration};
use crate::value::line::is_line;
use crate::value::size::{parse_size, show_size};
use crate::value::template::Template;

/// The longest duration in a file: a year.
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// `true` or `false`; nothing else, so that `no` is never a surprise.
pub(crate) fn switch(place: &Place<'_>, r: &mut Reading<'_>) -> Option<bool> {
    place.choice(r, &[("true", true), ("false", false)])
}

/// A whole number in a range.
pub(crate) fn integer(place: &Place<'_>, r: &mut Reading<'_>, range: RangeInclusive<u64>) -> Option<u64> {
    let (first, last) = (range.start(), range.end());
    let what = if *last == u64::MAX {
        format!("a whole number from {first}")
    } else {
        format!("a whole number from {first} to {last}")
    };
    let text = place.text(r, &what)?;
    let number = plain_digits(text).then(|| text.parse().ok()).flatten().filter(|number| range.contains(number));
    if number.is_none() {
        r.problems.push(place.expected(&what));
    }
    number
}

/// A decimal with at most `places` decimals in a range, as a whole number of its smallest parts.
pub(crate) fn decimal(
    place: &Place<'_>,
    r: &mut Reading<'_>,
    places: usize,
    range: RangeInclusive<u64>,
) -> Option<u64> {
    let show = |parts: &u64| show_parts(*parts, places);
    let (first, last) = (show(range.start()), show(range.end()));
    let what = format!("a number from {first} to {last} with at most {places} decimals");
    let parts = parse_parts(place.text(r, &what)?, places).filter(|parts| range.contains(parts));
    if parts.is_none() {
        r.problems.push(place.expected(&what));
    }
    parts
}

/// `500ms`, `5s`, `10m`, `1h`, `1h30m`, `30d`; between `least` and a year.
pub(crate) fn duration(place: &Place<'_>, r: &mut Reading<'_>, least: Duration) -> Option<Duration> {
    bounded_duration(place, r, least..=YEAR, parse_duration)
}

/// Like [`duration`], between these two.
pub(crate) fn duration_within(
    place: &Place<'_>,
    r: &mut Reading<'_>,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    bounded_duration(place, r, range, parse_duration)
}

/// Like [`duration`], and a bare number is minutes, as in the release plans of the clouds.
pub(crate) fn interval(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Duration> {
    let minutes = |text: &str| {
        let number = plain_digits(text).then(|| text.parse::<u64>().ok()).flatten();
        number.and_then(|n| n.checked_mul(60)).map(Duration::from_secs).or_else(|| parse_duration(text))
    };
    bounded_duration(place, r, Duration::from_secs(1)..=YEAR, minutes)
}

fn bounded_duration(
    place: &Place<'_>,
    r: &mut Reading<'_>,
    range: RangeInclusive<Duration>,
    parse: impl Fn(&str) -> Option<Duration>,
) -> Option<Duration> {
    let text = place.text(r, "a duration such as `500ms`, `5s`, `10m` or `1h30m`")?;
    match parse(text) {
        None => {
            let message = format!("{} is not a duration", quoted(text));
            r.problems.push(
                place.problem(message).help("write a number with its unit: `500ms`, `5s`, `10m`, `1h30m`, `30d`"),
            );
            None
        }
        Some(duration) if duration < *range.start() => {
            let least = show_duration(*range.start());
            r.problems.push(place.problem(format!("`{text}` is too short: at least `{least}`")));
            None
        }
        Some(duration) if duration > *range.end() => {
            let most = show_duration(*range.end());
            r.problems.push(place.problem(format!("`{text}` is too long: at most `{most}`")));
            None
        }
        duration => duration,
    }
}

/// `4096`, `32KiB`, `1GiB`, in bytes.
pub(crate) fn size(place: &Place<'_>, r: &mut Reading<'_>, range: RangeInclusive<u64>) -> Option<u64> {
    let text = place.text(r, "a size such as `32KiB`, `1GiB` or `4096`")?;
    let Some(bytes) = parse_size(text) else {
        let message = format!("{} is not a size", quoted(text));
        r.problems
            .push(place.problem(message).help("write bytes (`4096`) or a unit of 1024: `32KiB`, `10MiB`, `1GiB`"));
        return None;
    };
    if !range.contains(&bytes) {
        let (least, most) = (show_size(*range.start()), show_size(*range.end()));
        r.problems.push(place.problem(format!("`{text}` is out of range: from `{least}` to `{most}`")));
        return None;
    }
    Some(bytes)
}

/// Text with `${NAME}` in it.
pub(crate) fn template(place: &Place<'_>, r: &mut Reading<'_>, what: &str) -> Option<Template> {
    let text = place.text(r, what)?;
    template_text(place, r, text)
}

/// A part of a place's text as a template.
pub(crate) fn template_text(place: &Place<'_>, r: &mut Reading<'_>, text: &str) -> Option<Template> {
    let template = match Template::parse(text, r.env) {
        Ok(template) => template,
        Err(error) => {
            r.problems.push(place.problem(error.to_string()));
            return None;
        }
    };
    let forbidden = template.environment().find(|name| !r.environment.allows(name)).map(str::to_owned);
    let Some(name) = forbidden else { return Some(template) };
    let problem = place.problem(format!("the environment variable `{name}` may not be used"));
    r.problems.push(problem.help("only what `environment: {allow: [PATTERN]}` names may be used"));
    None
}

/// A template that may hold environment variables but no stage variables.
pub(crate) fn env_template(place: &Place<'_>, r: &mut Reading<'_>, what: &str) -> Option<Template> {
    let template = template(place, r, what)?;
    if template.fixed().is_none() {
        r.problems.push(place.problem("stage variables have no value here").help("use `${NAME}` for the environment"));
        return None;
    }
    Some(template)
}

/// A text that is not empty once the environment is put in; the text can be a secret, and no problem quotes it.
pub(crate) fn full_template(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Template> {
    let template = env_template(place, r, "a text")?;
    if template.fixed() == Some("") {
        r.problems.push(place.problem("this is empty").help("set the environment variable, or leave the key out"));
        return None;
    }
    Some(template)
}

/// The URL of an HTTP server, which can hold secrets.
pub(crate) fn url(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Template> {
    let template = full_template(place, r)?;
    let parsed = template.fixed().and_then(|text| text.parse::<http::Uri>().ok());
    let fits = parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        || template.is_unresolved();
    if !fits {
        let problem = place.problem("this is not a URL");
        r.problems.push(problem.help("it starts with `https://` or `http://` and names a host"));
    }
    fits.then_some(template)
}

/// One line of text for people, at most 1024 characters.
pub(crate) fn line(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "a line of text")?;
    if !is_line(text) {
        r.problems.push(place.problem("expected one line of 1 to 1024 characters without control characters"));
        return None;
    }
    Some(text.to_owned())
}

/// A header name as HTTP allows it, in lower case.
pub(crate) fn header_name(place: &Place<'_>, r: &mut Reading<'_>, text: &str) -> Option<String> {
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => {
            r.problems.push(
                place
                    .key_problem(format!("{} is not a header name", quoted(text)))
                    .help("letters, digits and `-`, such as `x-user-id`"),
            );
            None
        }
    }
}

/// Whether HTTP can carry this as the value of a header.
pub(crate) fn is_header_value(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok() && text.trim() == text
}

/// A token of RFC 9110: cookie names, methods.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A list of networks: `10.0.0.0/8`, `::1`.
pub(crate) fn networks(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<IpNet>> {
    let items = place.items(r, "a list of networks such as `[10.0.0.0/8, \"::1\"]`");
    Some(items.iter().filter_map(|item| network(item, r)).collect())
}

/// A network in the form of its first address, or one address.
pub(crate) fn network(place: &Place<'_>, r: &mut Reading<'_>) -> Option<IpNet> {
    let text = place.text(r, "a network such as `10.0.0.0/8`")?;
    let Some(network) = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) else {
        r.problems.push(
            place
                .problem(format!("{} is not a network", quoted(text)))
                .help("write `10.0.0.0/8`, `2001:db8::/32` or one address"),
        );
        return None;
    };
    if network.trunc() != network {
        let message = format!("`{text}` has bits beyond its prefix length");
        let help = format!("write `{}` for the network or `{}` for the one address", network.trunc(), network.addr());
        r.problems.push(place.problem(message).help(help));
        return None;
    }
    Some(network)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_units_from_long_to_short() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h500ms", 3_600_500),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", "5", "s", "5 s", "1m1h", "1s1s", "1.5s", "-1s", "1S", "5min", "99999999999999999999s", "1us", "5sé"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("4096B", 4096), ("32KiB", 32 << 10), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "B", "KiB", "32KB", "32k", "1.5MiB", "-1", "01", "99999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(show_size(1 << 30), "1GiB");
        assert_eq!(show_size(1000), "1000");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(n in any::<u64>(), shift in 0u32..64) {
            let n = n >> shift;
            prop_assert_eq!(parse_size(&show_size(n)), Some(n));
            let duration = Duration::from_millis(n);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }
}
