//! How a bench is run: its figures are printed, never asserted, so it fails only where it could not measure.

use std::process::ExitCode;

use super::report::Report;

/// Why it could not measure.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Runs a bench and prints its table, also of what was measured before something failed. `asked` is false where
/// somebody only builds the benches and starts them to see that they start, as `cargo test --benches` does.
pub fn bench(asked: bool, measure: impl FnOnce(&mut Report) -> Result<(), Failed>) -> ExitCode {
    if !asked {
        println!("nothing is measured without --bench");
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new();
    let measured = measure(&mut report);
    report.print();
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not measure: {error}");
            ExitCode::FAILURE
        }
    }
}
