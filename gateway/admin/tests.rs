//! The admin API over real sockets: every path, every refusal.

mod authority;
mod changes;
mod doors;
mod reads;
mod refusals;
mod rollouts;
mod simulate;
mod support;
