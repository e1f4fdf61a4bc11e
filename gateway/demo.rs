//! The shops of `weir demo`: one small page per version, each in its own colour, served on the endpoints that the demo's
//! file gives to the function `shop`. One whose label is `broken` fails every other request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use config::model::{Config, Target};
use config::value::name::VersionId;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The demo's file, for where there is none yet.
pub const FILE: &str = include_str!("../config/demo.yaml");

const FUNCTION: &str = "shop";
const BROKEN: &str = "broken";
const COLOURS: [&str; 4] = ["#2f6fde", "#2f9e5f", "#c2562d", "#7a4fc4"];

/// One version of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shop {
    /// Its number.
    pub version: VersionId,
    /// Whether it fails every other request.
    pub broken: bool,
}

/// The loopback address of every version of `shop` that the file gives one.
#[must_use]
pub fn shops(config: &Config) -> BTreeMap<SocketAddr, Shop> {
    let versions = config.functions.get(FUNCTION).into_iter().flat_map(|shop| &*shop.versions);
    versions
        .filter_map(|(number, version)| match &version.target {
            Target::Upstream(upstream) => {
                let broken = version.label.as_deref() == Some(BROKEN);
                Some((Shop { version: VersionId::Number(*number), broken }, upstream))
            }
            Target::Response(_) => None,
        })
        .flat_map(|(shop, upstream)| upstream.endpoints.iter().map(move |endpoint| (shop, endpoint)))
        .filter_map(|(shop, endpoint)| {
            let address = SocketAddr::new(endpoint.host.fixed()?.parse().ok()?, endpoint.port);
            address.ip().is_loopback().then_some((address, shop))
        })
        .collect()
}

/// Serves a shop on `address` until the runtime ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, shop: Shop) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        let fails = Arc::new(AtomicBool::new(shop.broken));
        while let Ok((stream, _)) = listener.accept().await {
            let fails = Arc::clone(&fails);
            let answer = service_fn(move |request| {
                let failed = shop.broken && fails.fetch_not(Ordering::Relaxed);
                let response = if failed { failure() } else { page(&request, shop.version) };
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(())
}

fn failure() -> Response<Full<Bytes>> {
    let response = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
    response.body(Full::new("this version is broken\n".into())).expect("a status is valid")
}

fn page(request: &Request<Incoming>, version: VersionId) -> Response<Full<Bytes>> {
    let wants_html = request.headers().get("accept").is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let (kind, body) = if wants_html {
        ("text/html; charset=utf-8", html(version))
    } else {
        ("text/plain; charset=utf-8", format!("version {version}\n"))
    };
    Response::builder()
        .header("content-type", kind)
        .header("cache-control", "no-store")
        .body(Full::new(body.into()))
        .expect("constant headers are valid")
}

fn html(version: VersionId) -> String {
    let colour = match version {
        VersionId::Number(number) => COLOURS[(number.get() as usize - 1) % COLOURS.len()],
        VersionId::Latest => "#555555",
    };
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Shop, version {version}</title>\
         <style>body{{margin:0;font:1.2rem system-ui;background:{colour};color:#fff;display:grid;place-items:center;\
         min-height:100vh;text-align:center}}b{{display:block;font-size:6rem}}</style>\
         <main>The shop, version<b>{version}</b>Reload: of 100 visits, the split says how many land here.</main>\n"
    )
}
