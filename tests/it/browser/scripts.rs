//! Runs a script of this folder with Node, and shows its output if it fails.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::world::World;
use crate::support::home::eventually;

/// Longer than a script takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs a script against a receiver's page. The script gets the page's address and the values in `told`. All its checks
/// must pass, and no process of its browser may be left.
#[track_caller]
pub fn play(script: &str, world: &World, mut told: Value) {
    told["origin"] = format!("http://{}", world.admin).into();
    let folder = TempDir::new().expect("a folder");
    let said = folder.path().join("said");
    let out = File::create(&said).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let child = Command::new("node")
        .arg(root.join("tests/it/browser").join(script).with_extension("mjs"))
        .arg(told.to_string())
        // The browser gets a folder of its own, which identifies its processes.
        .env("TMPDIR", folder.path())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("node, of Debian's package nodejs, does not start ({error}): see tests/run")
        });
    let mut node = Node(child);
    let began = Instant::now();
    let ended = loop {
        let ended = node.0.try_wait().unwrap();
        if ended.is_some() || began.elapsed() > PATIENCE {
            break ended;
        }
        thread::sleep(Duration::from_millis(10));
    };
    drop(node);
    let said = fs::read_to_string(&said).unwrap();
    let wrong = said.split("FAILED").skip(1).map(|part| part.split("\nok ").next().unwrap_or(part));
    let wrong: Vec<&str> = wrong.collect();
    assert!(
        ended.is_some_and(|status| status.success()),
        "{script}.mjs ended with {ended:?}:\n{}",
        if wrong.is_empty() { said.clone() } else { wrong.join("\n") }
    );
    eventually("the browser left processes behind", || processes_of(folder.path()) == 0);
}

/// Killed when it is dropped. Its browser then ends too, because the pipe between them closes.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number of processes with this folder in their command line.
fn processes_of(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    let lines =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(folder)).count()
}
