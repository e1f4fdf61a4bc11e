//! This test binary, run again as a process that can be killed or given failing system calls.

use std::path::Path;
use std::process::{Command, Stdio};

use tokio::runtime;

/// The path of the child's store.
const STORE: &str = "WEIR_TEST_STORE";

/// What to run before the child, as `strace …`; the test that is parent and child; the path of the child's store.
pub(super) fn command(before: &[&str], test: &str, store: &Path) -> Command {
    let binary = std::env::current_exe().unwrap();
    let line = before.iter().map(|word| (*word).into()).chain([binary.into_os_string()]).collect::<Vec<_>>();
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]);
    command.args(["--exact", "--nocapture", "--test-threads=1"]);
    command.arg(format!("store::embedded::tests::{test}"));
    command.env(STORE, store).stdin(Stdio::null());
    command
}

/// Runs `body` with the path of the store and ends the process, if this is a child; the parent goes on.
pub(super) fn run(body: impl AsyncFnOnce(&Path)) {
    let Some(store) = std::env::var_os(STORE) else { return };
    // What the test harness has begun to print is no line of the child.
    println!();
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body(Path::new(&store)));
    std::process::exit(0);
}

/// Fails with what to install if `tool` is not there.
pub(super) fn require(tool: &str, package: &str) {
    let found = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "this test needs `{tool}`: apt-get install {package}");
}
