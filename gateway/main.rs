//! `weir`: the allocator, the crypto provider, and the exit code; everything else is in `gateway`.

use std::process::ExitCode;

// A tenth less CPU per request than glibc's allocator, and half with large bodies.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing installs a crypto provider before main does");
    gateway::cli::run()
}
