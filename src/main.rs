//! The `bikhook` command.
//!
//! Exit codes:
//! - 0: success
//! - 1: failed, but a later try may succeed
//! - 2: fails until the configuration, the command line, or a file that they name is corrected

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match bikhook::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}
