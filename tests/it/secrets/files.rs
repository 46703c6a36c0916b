//! Files that the receiver makes: closed to others, and never somebody else's by way of a link.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::{bikhook, said};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Every file and folder below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] })
        .collect()
}

#[test]
fn files_that_a_start_creates_are_closed_to_others() {
    let home = tempfile::tempdir().unwrap();
    let handlers =
        "[handlers.log]\nkind = \"log\"\n[handlers.file]\nkind = \"jsonl\"\npath = \"data/events.jsonl\"\n";
    fs::write(home.path().join("bikhook.toml"), handlers).unwrap();
    let mut command = bikhook(home.path(), &["--config", "bikhook.toml"]);
    command.env("BIKHOOK_HTTP_LISTEN", "127.0.0.1:0").env("BIKHOOK_ADMIN_LISTEN", "127.0.0.1:0");
    let data = home.path().join("data");
    let receiver = crate::support::receiver::Receiver::start(
        command,
        &home.path().join("log"),
        &data.join("journal.db.lock"),
    );
    let made = below(home.path());
    drop(receiver);
    let kept = |name: &str| made.iter().any(|path| path.ends_with(name));
    assert!(kept("data/credential") && kept("data/events.jsonl"), "{made:?}");
    for path in made.iter().filter(|path| path.starts_with(&data)) {
        let most = match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => 0o700,
            Some("jsonl") => 0o640,
            _ => 0o600,
        };
        assert_eq!(mode(path) & !most, 0, "{} has mode {:o}", path.display(), mode(path));
    }
    assert_eq!(mode(&data), 0o700);
}

#[test]
fn a_lock_file_that_is_a_link_ends_the_start_and_names_it() {
    let home = tempfile::tempdir().unwrap();
    let victim = home.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::create_dir(home.path().join("data")).unwrap();
    symlink(&victim, home.path().join("data/journal.db.lock")).unwrap();
    let mut command = bikhook(home.path(), &["serve"]);
    command.env("BIKHOOK_HTTP_LISTEN", "127.0.0.1:0").env("BIKHOOK_ADMIN_LISTEN", "127.0.0.1:0");
    let ended = command.output().unwrap();
    assert!(!ended.status.success());
    assert!(said(&ended).contains("journal.db.lock is a symbolic link: remove it"), "{}", said(&ended));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
