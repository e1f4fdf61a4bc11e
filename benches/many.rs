//! What one weight change costs where there is much of something else: versions of its function, aliases, running rollouts.
//!
//! `cargo bench --bench many -- 500` changes the weights of one alias so many times, each time from the accepted edit to the table
//! that requests see, on a store in memory.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use config::model::{Alias, Config, Version};
use config::release::rollout::{Ask, Asked, Speaker};
use config::text::edit::{Edit, FunctionEdit};
use config::text::parse::parse_plan;
use config::value::name::FunctionName;
use criterion::measurement::{Measurement, WallTime};
use gateway::control::{AllowEmpty, Author, Control, Wish};
use gateway::store::memory::Memory;
use tokio::runtime::Runtime;

#[path = "../config/benches/fleet/mod.rs"]
mod fleet;
mod plane;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of changes that are measured in each row, unless the command line says otherwise.
const CHANGES: usize = 500;
const VERSIONS: u32 = 10_000;
const ALIASES: usize = 100_000;
const ROLLOUTS: usize = 1_000;

fn main() {
    let changes = plane::sizes(&[CHANGES])[0];
    let row = |name: &str, config, rollouts| row(name, config, rollouts, changes);
    println!("\n| beside the alias | one weight change, median us | 99 of 100, us |");
    println!("|---|---|---|");
    row("one function with 2 versions", fleet(1), 0);
    row("10 000 versions of its function", with_versions(), 0);
    row("100 000 functions with an alias each", fleet(ALIASES), 0);
    row("1 000 rollouts that run", fleet(ROLLOUTS + 1), ROLLOUTS);
}

fn row(name: &str, config: Config, rollouts: usize, changes: usize) {
    let runtime = plane::runtime();
    let (_live, control) = plane::start(&runtime, Arc::new(Memory::default()), plane::metrics(), Arc::default());
    let applied = control.apply_file(Author::of("bench"), config, AllowEmpty(false), false);
    runtime.block_on(applied).expect("the fleet is valid");
    (1..=rollouts).for_each(|number| begin(&runtime, &control, number));
    let mut times: Vec<Duration> = (0..changes).map(|turn| change(&runtime, &control, turn as u64)).collect();
    times.sort_unstable();
    let us = |place: usize| times[place].as_nanos() as f64 / 1e3;
    println!("| {name} | {:.0} | {:.0} |", us(changes / 2), us(changes * 99 / 100));
}

fn fleet(functions: usize) -> Config {
    fleet::fleet(functions, 1, &Alias::new(fleet::split(0)), "prod")
}

/// One function with [`VERSIONS`] versions, each at an endpoint of its own.
fn with_versions() -> Config {
    let mut config = fleet(1);
    let function = config.functions.get_mut(&name(0)).expect("the function is there");
    let versions = Arc::make_mut(&mut Arc::make_mut(function).versions);
    let first = Version::clone(&versions[&NonZeroU32::MIN]);
    for number in 3..=VERSIONS {
        let version = Version { description: Some(format!("version {number}")), ..first.clone() };
        versions.insert(NonZeroU32::new(number).expect("from 3"), Arc::new(version));
    }
    config.numbers.insert(name(0), NonZeroU32::new(VERSIONS).expect("from 3"));
    config
}

fn begin(runtime: &Runtime, control: &Control, number: usize) {
    let ask = Ask {
        members: vec![Asked {
            function: name(number),
            alias: "prod".parse().expect("a name"),
            candidate: NonZeroU32::MIN.saturating_add(1),
            base: None,
        }],
        plan: Arc::new(parse_plan("canaryStep: {weight: 50, interval: 10m}", &|_| None).expect("a plan")),
        plan_name: None,
        speaker: Speaker { who: "bench".to_owned(), why: None },
        supersede: false,
        adopt: false,
    };
    runtime.block_on(control.release(Author::of("bench"), ask, false)).expect("a rollout");
}

/// Gives the alias of the first function other weights; answers how long it took until they were live.
fn change(runtime: &Runtime, control: &Control, turn: u64) -> Duration {
    let shift = FunctionEdit::Shift("prod".parse().expect("a name"), fleet::split(1 + turn % 50));
    let edits = vec![Edit::Function(name(0), shift)];
    let start = WallTime.start();
    let wish = Wish { author: Author::of("bench"), edits, guard: None };
    runtime.block_on(control.edit(wish)).expect("weights may change");
    start.elapsed()
}

fn name(number: usize) -> FunctionName {
    fleet::function_name(number).parse().expect("a name")
}
