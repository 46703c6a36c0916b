//! A panic is logged with its location only, because its text may quote anything.

use std::process::Command;

/// Set in the process that panics. The panic hook affects a whole process, and this one runs other tests.
const CHILD: &str = "BIKHOOK_TEST_PANICS";
const TEXT: &str = "the phone number +919090909090";

#[test]
fn a_panic_is_logged_with_its_place_and_without_its_text() {
    if std::env::var_os(CHILD).is_some() {
        return panic_in_a_task();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "secrets::panics::a_panic_is_logged_with_its_place_and_without_its_text",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = super::said(&child);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("thread panicked") && said.contains("secrets/panics.rs:"), "{said}");
    assert!(said.contains("why: panicked (the log has the location)"), "{said}");
    assert!(!said.contains(TEXT), "{said}");
}

fn panic_in_a_task() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    bikhook::panics::log_places();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ended = runtime.block_on(async { tokio::spawn(async { panic!("{TEXT}") }).await });
    let ended: Result<(), _> = ended;
    eprintln!("why: {}", bikhook::panics::why_ended(&ended.unwrap_err()));
}
