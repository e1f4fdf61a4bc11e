//! `weir demo`: the gateway as it is, with built-in shops behind it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::{Keep, Started, run_with};
use crate::cli::Exit;
use crate::demo;
use crate::files;
use crate::log::Diagnostics;

/// Runs the demo from `path`, which is written if it does not exist.
#[must_use]
pub fn run(path: &Path, diagnostics: &Diagnostics) -> Exit {
    if let Err(error) = write_if_absent(path) {
        diagnostics.say(&format!("weir: cannot write {}: {error}\n", path.display()));
        return Exit::Failed;
    }
    run_with(path, Keep::Ephemeral, diagnostics, |started| {
        open_shops(started)?;
        Ok(what_to_try(&path.display().to_string()))
    })
}

fn write_if_absent(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    files::open_to_write(path, File::options().write(true).create_new(true))?.write_all(demo::FILE.as_bytes())
}

fn open_shops(started: &Started) -> io::Result<()> {
    let shops = demo::shops(started.live.load().table.config());
    for (address, shop) in shops {
        tokio::runtime::Handle::current().block_on(demo::serve(address, shop)).map_err(|error| {
            let what = format!("cannot serve the demo's version {} on {address}: {error}", shop.version);
            io::Error::new(error.kind(), what)
        })?;
    }
    Ok(())
}

fn what_to_try(file: &str) -> String {
    format!(
        "\
Four versions of a shop are running behind the gateway. Things to try, in another window:

  the exact split: of 100 requests, 95 are answered by version 1 and 5 by version 2
    for i in $(seq 100); do curl -s -H 'Host: shop.example.com' http://127.0.0.1:8080/; done | sort | uniq -c

  a caller with a routing key stays with one version
    for i in $(seq 10); do curl -s -H 'Host: shop.example.com' -H 'x-user-id: alice' http://127.0.0.1:8080/; done | sort | uniq -c

  Bob's rule: he sees version 2 whatever the weights say
    curl -s -H 'Host: shop.example.com' -H 'User: Bob' http://127.0.0.1:8080/

  a change: set the split in {file} to {{1: 50, 2: 50}}, save, and run the first one again

  or by command, and back
    target/demo/weir shift shop:prod 1=50 2=50 --config {file} && target/demo/weir rollback shop:prod --config {file}

  a release of version 3: 25, 50, 75, 100 %; and one of version 4, which fails every other request: it is rolled back
    while curl -sf -o /dev/null -H 'Host: shop.example.com' http://127.0.0.1:8080/; do :; done &
    export WEIR_CONFIG={file}
    target/demo/weir shift shop:prod 1
    target/demo/weir release shop:prod 3 --plan quick --wait
    target/demo/weir release shop:prod 4 --plan quick --wait
    jobs        # the loop still runs: it would have ended at the first error

  in a browser: http://127.0.0.1:8080    metrics: http://127.0.0.1:9900/metrics    end it with Ctrl-C

"
    )
}
