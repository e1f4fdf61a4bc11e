//! `weir`: exit codes, allocator, and nothing else; the command line is in `gateway::cli`.

fn main() {}
