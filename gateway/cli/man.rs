//! `weir man`: manual pages from the same source as `--help`.

use std::io;
use std::path::PathBuf;

use super::Exit;
use super::local::{fail, print};

/// `weir man`
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The folder to write `weir.1`, `weir-shift.1`, … into
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self, command: clap::Command) -> Exit {
        match &self.output {
            Some(folder) => match clap_mangen::generate_to(command, folder) {
                Ok(()) => Exit::Ok,
                Err(error) => fail(&format!("cannot write manual pages to {}: {error}", folder.display())),
            },
            None => match page(command) {
                Ok(page) => print(&page),
                Err(error) => fail(&format!("cannot make the manual page: {error}")),
            },
        }
    }
}

fn page(command: clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
