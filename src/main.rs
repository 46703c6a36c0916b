//! The `bikhook` command. Exit codes: 0 done; 1 failed, and may succeed when it is tried again; 2 wrong until a person changes
//! something: the configuration, the command line, or a file that they name.

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
