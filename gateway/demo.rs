//! The shops of `weir demo`: one small page per version, each in its own colour, served on the endpoints that the demo's
//! file gives to the function `shop`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use config::model::{Config, Target};
use config::name::VersionId;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The demo's file, for where there is none yet.
pub const FILE: &str = include_str!("../config/demo.yaml");

const FUNCTION: &str = "shop";
const COLOURS: [&str; 4] = ["#2f6fde", "#2f9e5f", "#c2562d", "#7a4fc4"];

/// The loopback address of every version of `shop` that the file gives one.
#[must_use]
pub fn endpoints(config: &Config) -> BTreeMap<SocketAddr, VersionId> {
    let versions = config.functions.get(FUNCTION).into_iter().flat_map(|shop| &shop.versions);
    versions
        .filter_map(|(number, version)| match &version.target {
            Target::Upstream(upstream) => Some((VersionId::Number(*number), upstream)),
            Target::Response(_) => None,
        })
        .flat_map(|(version, upstream)| upstream.endpoints.iter().map(move |endpoint| (version, endpoint)))
        .filter_map(|(version, endpoint)| {
            let address = SocketAddr::new(endpoint.host.fixed()?.parse().ok()?, endpoint.port);
            address.ip().is_loopback().then_some((address, version))
        })
        .collect()
}

/// Serves the shop of `version` on `address` until the runtime ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, version: VersionId) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shop = service_fn(move |request| async move { Ok::<_, Infallible>(page(&request, version)) });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), shop));
        }
    });
    Ok(())
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
