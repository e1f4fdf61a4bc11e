//! Pages for people: without scripts, for any width, and with nothing in them that is not escaped.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use config::release::rollout::{MemberReport, Report, SideCounts, SideReport};

/// Nothing but the page itself. A form whose page sends no referrer has no origin either, and would be refused: so the
/// referrer, which holds the token, stays within the origin.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

const STYLE: &str = "body{font:1.1rem/1.5 system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}\
    h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.1rem;margin-bottom:.25rem}\
    table{border-collapse:collapse;width:100%}th,td{padding:.25rem .5rem .25rem 0;text-align:right;border-bottom:1px solid #8884}\
    tr>:first-child{text-align:left}th{font-weight:600}button{font:inherit;padding:.75rem 2rem}";

/// A page that is put together.
pub(super) struct Page {
    title: String,
    html: String,
}

impl Page {
    pub(super) fn new(title: &str) -> Self {
        Self { title: escaped(title), html: String::new() }
    }

    /// With a paragraph more.
    pub(super) fn say(mut self, text: &str) -> Self {
        self.html += &format!("<p>{}</p>\n", escaped(text));
        self
    }

    /// With a button that posts to where the page came from.
    pub(super) fn button(mut self, verb: &str) -> Self {
        self.html += &format!("<form method=\"post\"><button>{}</button></form>\n", escaped(verb));
        self
    }

    /// With everything that a report tells.
    pub(super) fn report(mut self, report: &Report) -> Self {
        self = self.say(&report.standing).say(&report.asked);
        for member in &report.members {
            self.html += &table(member);
            if let Some(verdict) = &member.verdict {
                self = self.say(&format!("verdict: {verdict}"));
            }
        }
        if !report.gates.is_empty() {
            let items = report.gates.iter().map(|(gate, says)| escaped(&format!("{gate}: {says}")));
            let items: String = items.map(|item| format!("<li>{item}</li>\n")).collect();
            self.html += &format!("<h2>Gates</h2>\n<ul>\n{items}</ul>\n");
        }
        report.approvals.iter().fold(self, |page, approval| page.say(approval))
    }

    pub(super) fn answer(self, status: StatusCode) -> Response {
        let Self { title, html } = self;
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n<h1>{title}</h1>\n{html}</html>\n"
        );
        (status, HEADERS, html).into_response()
    }
}

/// A column for each version: three are as wide as a phone.
fn table(MemberReport { name, sides, .. }: &MemberReport) -> String {
    let heading = format!("<h2>{}</h2>\n", escaped(name));
    let counted: Vec<(&str, &SideCounts)> =
        sides.iter().filter_map(|SideReport { name, counts }| Some((name.as_str(), counts.as_ref()?))).collect();
    if counted.is_empty() {
        return format!("{heading}<p>Nothing was counted yet.</p>\n");
    }
    let line = |title: &str, of: &dyn Fn(&SideCounts) -> String| {
        let cells: Vec<String> = counted.iter().map(|(_, counts)| of(counts)).collect();
        row("td", std::iter::once(title).chain(cells.iter().map(String::as_str)))
    };
    let names = row("th", std::iter::once("").chain(counted.iter().map(|(name, _)| *name)));
    let lines = [
        names,
        line("requests", &|counts| counts.requests.to_string()),
        line("failed", &SideCounts::failed),
        line("unanswered", &|counts| (counts.unanswered + counts.gone).to_string()),
        line("p95", &SideCounts::p95),
    ];
    format!("{heading}<table>\n{}</table>\n", lines.concat())
}

fn row<T: AsRef<str>>(cell: &str, texts: impl Iterator<Item = T>) -> String {
    let cells = texts.map(|text| format!("<{cell}>{}</{cell}>", escaped(text.as_ref())));
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}
