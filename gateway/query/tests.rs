//! Queries: what a Prometheus may answer, and a real one.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::calls::fake::{Fake, Reply};

/// How long a Prometheus may take to start and scrape.
const START: Duration = Duration::from_secs(60);

async fn ask(url: &str, promql: &str) -> Result<f64, NoAnswer> {
    // The first one stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Queries::new().instant(url, promql).await
}

async fn read(status: u16, body: &str) -> Result<f64, NoAnswer> {
    let server = Fake::says(status, body).await;
    ask(&server.url(""), "up").await
}

fn vector(result: &str) -> String {
    format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{result}]}}}}")
}

fn sample(value: &str) -> String {
    format!("{{\"metric\":{{}},\"value\":[1700000000.123,\"{value}\"]}}")
}

#[tokio::test]
async fn the_query_goes_to_the_api_below_the_url() {
    let server = Fake::says(200, &vector(&sample("0.25"))).await;
    let promql = "rate(a{b=\"c+d&e%\"}[1m]) > 0 or 发布";
    assert_eq!(ask(&server.url("/prometheus/?tenant=a"), promql).await, Ok(0.25));
    let request = server.only();
    assert_eq!(request.line, "POST /prometheus/api/v1/query?tenant=a HTTP/1.1");
    let body = String::from_utf8(request.body).unwrap();
    let form = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
    assert_eq!(form.query_pairs().into_owned().collect::<Vec<_>>(), [("query".to_owned(), promql.to_owned())]);
}

#[tokio::test]
async fn what_is_not_one_finite_number_is_no_answer() {
    assert_eq!(read(200, &vector(&sample("-1.5e3"))).await, Ok(-1500.0));
    assert_eq!(read(200, &vector("")).await, Err(NoAnswer::Empty));
    assert_eq!(read(200, &vector(&format!("{0},{0}", sample("1")))).await, Err(NoAnswer::Several(2)));
    assert_eq!(read(200, &vector(&sample("NaN"))).await, Err(NoAnswer::NaN));
    for infinite in ["+Inf", "-Inf"] {
        assert_eq!(read(200, &vector(&sample(infinite))).await, Err(NoAnswer::Infinite));
    }
    let histogram = vector("{\"metric\":{},\"histogram\":[1700000000,{}]}");
    assert_eq!(read(200, &histogram).await, Err(NoAnswer::NotANumber("a histogram".to_owned())));
}

#[tokio::test]
async fn what_is_not_prometheus_is_refused() {
    for (status, body) in [
        (200, "<html>login</html>"),
        (200, "{}"),
        (200, "0"),
        (404, "not found"),
        (503, ""),
        (302, &vector(&sample("0"))),
        (500, &vector(&sample("0"))),
        (422, "{\"status\":\"error\",\"error\":\"query timed out\"}"),
        (200, "{\"status\":\"error\",\"error\":\"x\",\"data\":{\"resultType\":\"scalar\",\"result\":[1,\"0\"]}}"),
    ] {
        assert!(matches!(read(status, body).await, Err(NoAnswer::Refused(_))), "{status} {body}");
    }
    let large = vector(&format!("{},{}", sample("1"), " ".repeat(MOST)));
    assert!(matches!(read(200, &large).await, Err(NoAnswer::Refused(_))));
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_says_no_secret() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = ask(&format!("http://user:s3cret@{nobody}/?token=s3cret"), "up").await.unwrap_err();
    assert!(matches!(&error, NoAnswer::Unreachable(why) if why.contains("refused")), "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    let breaks = Fake::start(&[Reply::Breaks]).await;
    assert!(matches!(ask(&breaks.url(""), "up").await, Err(NoAnswer::Unreachable(_))));
}

/// A Prometheus that scrapes itself; killed when it is dropped.
struct Prometheus {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // It does not tell which port it got, so it is given one that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "scrape_configs: [{{job_name: self, scrape_interval: 1s, static_configs: [{{targets: ['{address}']}}]}}]"
        );
        std::fs::write(at("prometheus.yml"), config).unwrap();
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let child = Command::new("prometheus")
            .arg(flag("config.file", &at("prometheus.yml")))
            .arg(flag("storage.tsdb.path", &at("data")))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(at("log")).unwrap())
            .spawn()
            .expect("`prometheus` is missing: make test-tools");
        Self { child, url: format!("http://{address}"), _folder: folder }
    }

    /// Waits until it has scraped itself.
    async fn ready(&mut self) {
        let scraped = async {
            while ask(&self.url, "up").await != Ok(1.0) {
                assert_eq!(self.child.try_wait().unwrap(), None, "prometheus has ended");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(START, scraped).await.is_ok(), "prometheus has not scraped itself");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_prometheus_is_understood() {
    let mut prometheus = Prometheus::start();
    prometheus.ready().await;
    let url = prometheus.url.clone();
    assert_eq!(ask(&url, "sum(up)").await, Ok(1.0));
    assert_eq!(ask(&url, "scalar(up) / 4").await, Ok(0.25));
    assert_eq!(ask(&format!("{url}/"), "vector(1.5)").await, Ok(1.5));
    assert_eq!(ask(&url, "nothing_has_this_name").await, Err(NoAnswer::Empty));
    assert_eq!(ask(&url, "vector(0) / 0").await, Err(NoAnswer::NaN));
    assert_eq!(ask(&url, "-1 / vector(0)").await, Err(NoAnswer::Infinite));
    assert_eq!(ask(&url, "\"text\"").await, Err(NoAnswer::NotANumber("a text".to_owned())));
    assert_eq!(ask(&url, "up[1m]").await, Err(NoAnswer::NotANumber("a range of samples".to_owned())));
    assert!(matches!(ask(&url, "{__name__=~\"go_.*\"}").await, Err(NoAnswer::Several(2..))));
    let refused = ask(&url, "sum(").await.unwrap_err();
    assert!(matches!(&refused, NoAnswer::Refused(why) if why.contains("parse error")), "{refused}");
}
