//! `check` warns about secrets that others can guess or read.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bikhook::config::Config;

use super::LONG_KEY;

/// A folder that every user of the machine may enter, as far as the machine lets them.
struct Open(tempfile::TempDir);

impl Open {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The warnings of a configuration with this text and mode.
    fn warnings(&self, text: &str, mode: u32, variables: &[(&str, &str)]) -> String {
        let path = self.write("bikhook.toml", &format!("{text}\n[handlers.log]\nkind = \"log\"\n"), mode);
        load(&path, variables)
    }
}

fn load(path: &Path, variables: &[(&str, &str)]) -> String {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Config::load(Some(path), variables).unwrap_or_else(|error| panic!("{error}")).warnings.to_string()
}

fn source(credential: &str) -> String {
    format!("[sources.bik]\ncredentials.portal = {{ {credential} }}\n")
}

#[test]
fn a_secret_that_can_be_guessed_is_warned_about_and_not_shown() {
    let open = Open::new();
    for (text, warning) in [
        (source("key = \"hunter2\""), "sources.bik.credentials.portal.key: is shorter than 12 characters"),
        (
            source("username = \"bik\", password = \"hunter2\""),
            "credentials.portal.password: is shorter than",
        ),
        (source("key = { env = \"SHORT\" }"), "credentials.portal.key: is shorter than 12 characters"),
        (source("key = \"change-me-hunter2\""), "this secret is an example value"),
        (
            format!(
                "[admin]\ncredentials = {{ username = \"a\", password = \"hunter2\" }}\n{}",
                source(&long())
            ),
            "admin.credentials.password: is shorter than 12 characters",
        ),
        (
            format!(
                "[handlers.x]\nkind = \"log\"\nmask = {{ hash = [\"/id\"], key = \"ChangeMe-hunter2-16\" }}\n{}",
                source(&long())
            ),
            "this secret is an example value",
        ),
    ] {
        let told = open.warnings(&text, 0o600, &[("SHORT", "hunter2")]);
        assert!(told.contains(warning), "{text}:\n{told}");
        assert!(!told.contains("hunter2"), "{text}:\n{told}");
    }
    assert_eq!(open.warnings(&source(&long()), 0o600, &[]), "");
}

fn long() -> String {
    format!("key = \"{LONG_KEY}\"")
}

#[test]
fn a_file_with_secrets_that_everybody_can_read_is_warned_about() {
    let open = Open::new();
    let in_file = source(&long());
    let told = open.warnings(&in_file, 0o644, &[]);
    assert!(told.contains("every user of this machine can read") && told.contains("chmod o-r"), "{told}");
    assert_eq!(open.warnings(&in_file, 0o640, &[]), "");
    let elsewhere = source("key = { env = \"KEY\" }");
    assert_eq!(open.warnings(&elsewhere, 0o644, &[("KEY", LONG_KEY)]), "");
    let url =
        format!("{elsewhere}[handlers.r]\nkind = \"redis\"\nurl = \"redis://u:{LONG_KEY}@127.0.0.1\"\n");
    let told = open.warnings(&url, 0o644, &[("KEY", LONG_KEY)]);
    assert!(told.contains("every user of this machine can read"), "{told}");

    let secret = open.write("key", LONG_KEY, 0o644);
    let kept = source(&format!("key = {{ file = \"{}\" }}", secret.display()));
    let told = open.warnings(&kept, 0o644, &[]);
    assert!(told.contains(&format!("can read the secret in {}", secret.display())), "{told}");
    assert!(!told.contains("bikhook.toml, which contains secrets"), "{told}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(open.warnings(&kept, 0o644, &[]), "");

    // Nobody else can read it in a closed folder.
    fs::set_permissions(open.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(open.warnings(&in_file, 0o644, &[]), "");
}

#[test]
fn an_authorization_header_over_plain_http_is_warned_about() {
    let open = Open::new();
    let handler = |keys: &str| format!("{}[handlers.crm]\nkind = \"http\"\n{keys}\n", source(&long()));
    for (keys, warned) in [
        ("url = \"http://crm.example/\"\nheaders.authorization = \"Bearer x\"", true),
        ("url = \"http://crm.example/\"\nheaders = { AUTHORIZATION = { env = \"TOKEN\" } }", true),
        ("url = { env = \"URL\" }\nheaders.Authorization = \"Bearer x\"", true),
        ("url = \"https://crm.example/\"\nheaders.Authorization = \"Bearer x\"", false),
        ("url = \"http://127.0.0.1:9/\"\nheaders.Authorization = \"Bearer x\"", false),
        ("url = \"http://crm.example/\"\nheaders.X-Shop = \"1\"", false),
    ] {
        let told = open.warnings(&handler(keys), 0o600, &[("TOKEN", "t"), ("URL", "http://crm.example/")]);
        assert_eq!(
            told.contains("http:// sends the Authorization header without encryption"),
            warned,
            "{keys}:\n{told}"
        );
    }
}
