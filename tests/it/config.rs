//! The configuration: accepted files, the errors of invalid files, and the defaults.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use bikhook::{
    admin,
    config::{Config, ConfigError, LogFormat, LogSettings},
    dispatch,
    handler::{ABSENT, FilterSettings, KINDS},
    http, journal,
    journal::LaneStart,
    settings::{Period, keys_of},
};

fn load(path: Option<&Path>, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(path, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

/// Loads a file with this text.
fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("bikhook.toml");
    std::fs::write(&path, text).unwrap();
    keep_private(&path);
    load(Some(&path), variables).map_err(|error| error.to_string())
}

/// A file that others can read causes a warning. The mode of the files in a clone does not matter to this test.
fn keep_private(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("fixtures/config").join(folder);
    let mut paths: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no fixtures in {}", folder.display());
    paths
}

/// A fixture, with the variables that its comments name.
fn load_fixture(path: &Path) -> Result<Config, ConfigError> {
    keep_private(path);
    let text = std::fs::read_to_string(path).unwrap();
    let variables: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# variable "))
        .map(|line| line.split_once('=').unwrap())
        .collect();
    load(Some(path), &variables)
}

/// Compares with the expected text next to the fixture, where `{kinds}` stands for the kinds of this binary. `UPDATE=1`
/// writes that text.
fn assert_told(path: &Path, told: &str) {
    let kinds: Vec<String> = KINDS.iter().map(|kind| format!("`{}`", kind.name)).collect();
    let told = &told.replace(&format!("use one of {}", kinds.join(", ")), "use one of {kinds}");
    let expected = path.with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&expected, format!("{told}\n")).unwrap();
    }
    let expected = std::fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(told.trim_end(), expected.trim_end(), "{}", path.display());
}

#[test]
fn each_wrong_file_is_refused_in_exactly_these_words() {
    for path in fixtures("bad") {
        let error = load_fixture(&path).err().unwrap_or_else(|| panic!("{} was accepted", path.display()));
        assert!(matches!(error, ConfigError::Invalid(_)), "{}", path.display());
        let told = error.to_string();
        assert_told(&path, &told);
        for secret in ["correct-horse", "battery-staple", "12345"] {
            assert!(!told.contains(secret), "{} tells a secret", path.display());
            assert!(!format!("{error:?}").contains(secret), "{} tells a secret to Debug", path.display());
        }
        assert!(!told.contains('\u{1b}'), "colours in {}", path.display());
    }
}

#[test]
fn each_good_file_is_read_with_exactly_these_warnings() {
    for path in fixtures("good") {
        let config = load_fixture(&path).unwrap_or_else(|error| panic!("{error}"));
        if config.warnings.is_empty() {
            assert!(!path.with_extension("txt").exists(), "{} warns no more", path.display());
        } else {
            assert_told(&path, &config.warnings.to_string());
        }
    }
    assert!(!Path::new("never-made").exists(), "reading a configuration makes no secret");
}

#[test]
fn each_file_under_config_is_read() {
    let paths: Vec<_> = ["example", "minimal", "container"].map(|name| format!("config/{name}.toml")).into();
    for path in paths {
        let variables = [("BIK_KEY", "correct-horse"), ("BIK_PASSWORD", "battery-staple")];
        load(Some(Path::new(&path)), &variables).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The example with the `#` taken away from the lines with this mark and a key, and from the heads of handlers that are
/// commented out as a whole; of those, only what this binary has.
fn uncommented(marks: &[&str]) -> String {
    let text = std::fs::read_to_string("config/example.toml").unwrap();
    // The explanation at the top shows the marks themselves.
    let body = &text[text.find("\n[").unwrap()..];
    let mut lines = Vec::new();
    for line in body.lines() {
        let key_line = marks.iter().find_map(|mark| line.strip_prefix(mark)).filter(|line| is_key_line(line));
        let head = line.strip_prefix("# ").filter(|line| line.starts_with("[handlers."));
        lines.push(head.or(key_line).unwrap_or(line));
    }
    let text = lines.join("\n");
    let is_absent =
        |section: &&str| ABSENT.iter().any(|absent| section.contains(&format!("kind = {absent:?}")));
    text.split("\n[").filter(|section| !is_absent(section)).collect::<Vec<_>>().join("\n[")
}

fn is_key_line(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

const EXAMPLE_VARIABLES: [(&str, &str); 10] = [
    ("BIK_PASSWORD", "battery-staple"),
    ("BIK_API_TOKEN", "x"),
    ("ORDERS_AUTHORIZATION", "Bearer x"),
    ("ORDERS_SIGNING_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("AMQP_URL", "amqps://bik:sesame@mq.example/shop"),
    ("BIK_DATABASE_PASSWORD", "x"),
    ("KAFKA_PASSWORD", "x"),
    ("NATS_PASSWORD", "x"),
    ("AWS_SECRET_ACCESS_KEY", "x"),
    ("AWS_SESSION_TOKEN", "x"),
];

#[test]
fn the_defaults_in_the_example_are_the_defaults() {
    let config = read(&uncommented(&["# "]), &EXAMPLE_VARIABLES).unwrap();
    assert_eq!(format!("{:?}", config.http), format!("{:?}", http::Settings::default()));
    let defaults = admin::Settings::default();
    assert_eq!((config.admin.listen, &config.admin.hosts), (defaults.listen, &defaults.hosts));
    assert!(config.admin.credentials.is_none());
    assert_eq!(format!("{:?}", config.journal), format!("{:?}", journal::sqlite::Settings::default()));
    assert_eq!(config.log, LogSettings::default());
    let source = &config.sources["bik"];
    assert_eq!((source.path.as_str(), source.auth, source.rate), ("/webhook", http::AuthMode::Basic, None));
    for handler in &config.handlers {
        assert_eq!(format!("{:?}", handler.dispatch), format!("{:?}", dispatch::Settings::default()));
        assert_eq!(handler.start, None);
    }
    assert!(config.warnings.is_empty(), "{}", config.warnings);
}

#[test]
fn the_example_has_every_key() {
    let text = uncommented(&["# ", "#+ "]);
    read(&text, &EXAMPLE_VARIABLES).unwrap();
    let mut expected: Vec<&str> = [
        keys_of::<http::Settings>(),
        keys_of::<admin::Settings>(),
        keys_of::<admin::Credentials>(),
        keys_of::<http::SourceSettings>(),
        keys_of::<http::CredentialSettings>(),
        &["kind"],
        keys_of::<journal::sqlite::Settings>(),
        keys_of::<FilterSettings>(),
        keys_of::<dispatch::Settings>(),
        &["start"],
        keys_of::<LogSettings>(),
    ]
    .concat();
    for kind in KINDS {
        assert!(text.contains(&format!("kind = {:?}", kind.name)), "no handler of kind {}", kind.name);
        expected.extend((kind.keys)());
    }
    assert!(expected.len() > 50, "the keys of the settings are known");
    let document: toml::Table = text.parse().unwrap();
    let mut present = Vec::new();
    keys(&document, &mut present);
    // Keys that cannot be combined with others are named as well.
    let apart = text.lines().filter_map(|line| line.strip_prefix("#- ")).filter(|line| is_key_line(line));
    present.extend(apart.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())));
    for key in expected {
        assert!(present.iter().any(|present| present == key), "the example lacks `{key}`");
    }
}

fn keys(table: &toml::Table, found: &mut Vec<String>) {
    for (key, value) in table {
        found.push(key.clone());
        if let toml::Value::Table(inner) = value {
            keys(inner, found);
        }
    }
}

#[test]
fn a_destination_is_named_without_what_may_be_secret() {
    let mut named = 0;
    for (kind, keys, told) in [
        ("log", "", "the log of this process, personal data masked"),
        ("jsonl", "path = 'data/e.jsonl'", "data/e.jsonl"),
        ("http", "url = 'https://h.example/s3cret?t=s3cret'", "POST https://h.example/…"),
        ("exec", "command = ['python3', 's3cret']", "python3 …, run for each event"),
        ("exec", "command = ['/opt/x']\nmode = 'lines'", "/opt/x, long-running"),
        ("sqlite", "path = 'data/t.db'", "data/t.db, table bik_events"),
        (
            "postgres",
            "url = 'postgres://u:s3cret@db.example:5433/bik'\ntable = 'crm.t'",
            "db.example:5433, database bik, table crm.t",
        ),
        ("postgres", "url = 'postgres://u@/bik?host=/run/pg'", "/run/pg, database bik, table bik_events"),
        (
            "nats",
            "url = ['nats://a.example', 'tls://b.example:1']\nuser = 'u'\npassword = 's3cret'\nstream = 'BIK'",
            "nats://a.example:4222 or tls://b.example:1, subject bik.{source}.{event}, stream BIK",
        ),
        ("redis", "url = 'rediss://u:s3cret@r.example'", "r.example:6379, stream bik:events"),
        (
            "rabbitmq",
            "url = 'amqps://u:s3cret@mq.example/shop'\nexchange = 'bik'",
            "mq.example:5671, vhost shop, exchange bik, routing key bik.{source}.{event}",
        ),
        (
            "rabbitmq",
            "url = 'amqp://u:s3cret@mq.example'\nrouting_key = 'q'",
            "mq.example:5672, vhost /, queue q",
        ),
        (
            "s3",
            "bucket = 'b'\nprefix = 'raw'\nendpoint = 'https://u:s3cret@m.example:9000'",
            "s3://b/raw at https://m.example:9000",
        ),
        ("s3", "bucket = 'b'", "s3://b/ at us-east-1"),
    ] {
        if KINDS.iter().all(|row| row.name != kind) {
            continue;
        }
        let text = format!("[handlers.x]\nkind = '{kind}'\n{keys}\n");
        let config = read(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.handlers[0].destination, told);
        named += 1;
    }
    assert!(named >= 5, "{named}");
}

#[test]
fn defaults_are_loopback_a_generated_credential_and_the_log_handler() {
    // Not the folder of the tests: after a manual start of the receiver it has a `data/` with a credential.
    let home = tempfile::tempdir().unwrap();
    let journal = home.path().join("data/journal.db");
    let config = load(None, &[("BIKHOOK_JOURNAL_PATH", journal.to_str().unwrap())]).unwrap();
    assert_eq!(journal::sqlite::Settings::default().path, Path::new("data/journal.db"));
    assert_eq!(config.http.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.journal.path.parent(), Some(&*home.path().join("data")));
    let names: Vec<_> = config.handlers.iter().map(|handler| (&*handler.name, handler.kind.name)).collect();
    assert_eq!(names, [("log", "log")]);
    assert_eq!(config.sources.keys().collect::<Vec<_>>(), ["bik"]);
    assert_eq!(config.sources["bik"].path, "/webhook");
    let key = config.sources["bik"].credentials["generated"].key.as_ref().unwrap();
    assert_eq!(key.expose().len(), 43, "32 bytes in base64");
    let credential = home.path().join("data/credential");
    assert_eq!(config.not_stored().map(|(path, _)| path).collect::<Vec<_>>(), [credential]);
    assert!(config.warnings.is_empty());
}

#[test]
fn a_generated_secret_is_stored_once_and_the_same_from_then_on() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data/credential");
    let text = format!(
        "[sources.a.credentials.x]\nkey = {{ generate = {path:?} }}\n\
         [sources.b]\npath = '/b'\ncredentials.x = {{ key = {{ generate = {path:?} }} }}"
    );
    let key = |config: &Config, source: &str| {
        config.sources[source].credentials["x"].key.as_ref().unwrap().expose().to_owned()
    };
    let mut first = read(&text, &[]).unwrap();
    assert!(!path.exists(), "reading stores nothing");
    assert_eq!(key(&first, "a"), key(&first, "b"), "one file is one secret");
    assert_eq!(first.store_generated().unwrap(), std::slice::from_ref(&path));
    let again = read(&text, &[]).unwrap();
    assert_eq!(key(&again, "a"), key(&first, "a"));
    assert_eq!(again.not_stored().count(), 0);

    let mut late =
        load(None, &[("BIKHOOK_JOURNAL_PATH", home.path().join("other/j.db").to_str().unwrap())]).unwrap();
    let credential = home.path().join("other/credential");
    std::fs::create_dir(home.path().join("other")).unwrap();
    std::fs::write(&credential, "made meanwhile").unwrap();
    assert!(late.store_generated().is_err(), "a secret that another process made is not replaced");
    assert_eq!(std::fs::read_to_string(&credential).unwrap(), "made meanwhile");
}

#[test]
fn an_empty_credential_file_is_an_error_and_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("credential"), "").unwrap();
    let error = load(None, &[("BIKHOOK_JOURNAL_PATH", home.path().join("journal.db").to_str().unwrap())])
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("credential") && error.contains("empty"), "{error}");
}

#[test]
fn a_variable_sets_a_key_of_whatever_type() {
    let text = "[sources.my-shop]\ncredentials.portal = { key = 'x' }\n[handlers.audit]\nkind = 'log'";
    let config = read(
        text,
        &[
            ("BIKHOOK_HTTP_LISTEN", "127.0.0.1:9"),
            ("BIKHOOK_HTTP_IN_FLIGHT", "7"),
            ("BIKHOOK_HTTP_BODY_LIMIT", "1MiB"),
            ("BIKHOOK_HTTP_IN_FLIGHT_BYTES", "2097152"),
            ("BIKHOOK_HTTP_DEADLINE", "1s"),
            ("BIKHOOK_ADMIN_HOSTS", "[\"a.example\", \"b.example\"]"),
            ("BIKHOOK_ADMIN_CREDENTIALS_USERNAME", "admin"),
            ("BIKHOOK_ADMIN_CREDENTIALS_PASSWORD", "123456789012"),
            ("BIKHOOK_SOURCES_MY_SHOP_PATH", "/elsewhere"),
            ("BIKHOOK_SOURCES_MY_SHOP_RATE", "5"),
            ("BIKHOOK_SOURCES_MY_SHOP_CREDENTIALS_PORTAL_KEY", "1234567890123456"),
            ("BIKHOOK_SOURCES_MY_SHOP_CREDENTIALS_NEW_ONE_USERNAME", "bik"),
            ("BIKHOOK_SOURCES_MY_SHOP_CREDENTIALS_NEW_ONE_PASSWORD", "correct-horse"),
            ("BIKHOOK_HANDLERS_AUDIT_PROBE_MAX", "1h"),
            ("BIKHOOK_HANDLERS_AUDIT_EVENTS", "order*"),
            ("BIKHOOK_HANDLERS_SECOND_LOG_KIND", "log"),
            ("BIKHOOK_HANDLERS_SECOND_LOG_START", "2026-01-31"),
            ("BIKHOOK_JOURNAL_PATH", "/var/lib/bikhook/journal.db"),
            ("BIKHOOK_LOG_FORMAT", "json"),
        ],
    )
    .unwrap();
    assert_eq!(config.http.listen, "127.0.0.1:9".parse().unwrap());
    assert_eq!((config.http.in_flight, config.http.body_limit.0), (7, 1024 * 1024));
    assert_eq!((config.http.in_flight_bytes.0, config.http.deadline), (2 * 1024 * 1024, Period::secs(1)));
    assert_eq!(config.admin.hosts, ["a.example", "b.example"]);
    let operator = config.admin.credentials.as_ref().unwrap();
    assert_eq!((operator.username.as_str(), operator.password.expose()), ("admin", "123456789012"));
    assert_eq!(config.sources.keys().collect::<Vec<_>>(), ["my-shop"]);
    let source = &config.sources["my-shop"];
    assert_eq!((source.path.as_str(), source.rate), ("/elsewhere", Some(5)));
    assert_eq!(source.credentials["portal"].key.as_ref().unwrap().expose(), "1234567890123456");
    assert_eq!(source.credentials["new_one"].username.as_deref(), Some("bik"));
    assert_eq!(config.handlers.len(), 2);
    assert_eq!(config.handlers[0].dispatch.probe_max, Period::secs(3600));
    assert_eq!(&*config.handlers[1].name, "second_log");
    assert_eq!(config.handlers[1].start, Some(LaneStart::At("2026-01-31".parse().unwrap())));
    assert_eq!(config.journal.path.parent(), Some(Path::new("/var/lib/bikhook")));
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.warnings.is_empty(), "{}", config.warnings);
}

#[test]
fn a_variable_takes_the_place_of_a_secret_in_any_form() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("key");
    std::fs::write(&file, "from the file\n").unwrap();
    let text = "[sources.bik]\ncredentials.portal = { key = { env = 'UNSET' } }";
    let key = |name: &str, value: &str| {
        let config = read(text, &[(name, value)]).unwrap();
        config.sources["bik"].credentials["portal"].key.as_ref().unwrap().expose().to_owned()
    };
    assert_eq!(key("BIKHOOK_SOURCES_BIK_CREDENTIALS_PORTAL_KEY", "text"), "text");
    assert_eq!(
        key("BIKHOOK_SOURCES_BIK_CREDENTIALS_PORTAL_KEY_FILE", file.to_str().unwrap()),
        "from the file"
    );
    assert_eq!(key("UNSET", "set after all"), "set after all");
}

#[test]
fn variables_alone_make_a_configuration() {
    let config = load(None, &[("BIKHOOK_SOURCES_BIK_PATH", "/hook")]).unwrap();
    assert_eq!(config.sources["bik"].path, "/hook");
    assert!(config.sources["bik"].credentials.contains_key("generated"), "the credential is still its own");

    let config = load(None, &[("BIKHOOK_SOURCES_BIK_CREDENTIALS_PORTAL_KEY", "x")]).unwrap();
    assert_eq!(config.sources["bik"].credentials.keys().collect::<Vec<_>>(), ["portal"]);
    assert_eq!(config.not_stored().count(), 0);

    let config = load(None, &[("BIKHOOK_HANDLERS_OTHER_KIND", "log")]).unwrap();
    assert_eq!(config.handlers.iter().map(|handler| &*handler.name).collect::<Vec<_>>(), ["other"]);
}

#[test]
fn variables_of_the_program_itself_and_of_orchestrators_are_no_keys() {
    let config = load(
        None,
        &[
            ("BIKHOOK_CONFIG", "x.toml"),
            ("BIKHOOK_ADMIN", "http://127.0.0.1:1"),
            ("BIKHOOK_SERVICE_PORT", "8080"),
            ("BIKHOOK_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("HTTP_LISTEN", "nonsense"),
        ],
    )
    .unwrap();
    assert!(config.warnings.is_empty(), "{}", config.warnings);

    let text = "[sources.bik]\ncredentials.portal = { key = { env = 'BIKHOOK_HTTP_LISTEM' } }\n[handlers.log]\nkind = 'log'";
    let config = read(text, &[("BIKHOOK_HTTP_LISTEM", "a secret of this name")]).unwrap();
    assert!(config.warnings.is_empty(), "a variable that the file names is no slip: {}", config.warnings);
}

#[test]
fn a_variable_that_names_a_table_is_told_and_ignored() {
    let text = "[sources.bik]\ncredentials.portal = { key = 'correct-horse-battery' }\n[handlers.my-log]\nkind = 'log'";
    for (name, example) in [
        ("BIKHOOK_HTTP", Some("BIKHOOK_HTTP_AUTH_FAILURES_PER_MINUTE")),
        ("BIKHOOK_LOG", Some("BIKHOOK_LOG_")),
        ("BIKHOOK_ADMIN_CREDENTIALS", Some("BIKHOOK_ADMIN_CREDENTIALS_PASSWORD")),
        ("BIKHOOK_SOURCES", Some("BIKHOOK_SOURCES_BIK_AUTH")),
        ("BIKHOOK_SOURCES_BIK_CREDENTIALS_PORTAL", Some("BIKHOOK_SOURCES_BIK_CREDENTIALS_PORTAL_FORM")),
        ("BIKHOOK_HANDLERS_MY_LOG", Some("BIKHOOK_HANDLERS_MY_LOG_")),
        ("BIKHOOK_HANDLERS_MY_LOG_MASK", Some("BIKHOOK_HANDLERS_MY_LOG_MASK_DROP")),
        ("BIKHOOK_HANDLERS_AUDIT", None),
    ] {
        let config = read(text, &[(name, "{ kind = 'log', s3cret = 'hunter2' }")]).unwrap();
        let told = config.warnings.to_string();
        let first = format!(
            "the environment variable {name} names a table, and a variable sets a single key; ignored"
        );
        assert!(told.contains(&first) && !told.contains("hunter2"), "{told}");
        match example {
            Some(example) => assert!(told.contains(&format!("such as `{example}")), "{told}"),
            None => assert!(told.contains("by a variable of its own") && !told.contains("such as"), "{told}"),
        }
        assert_eq!(config.handlers.len(), 1, "{name}");
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_an_error_with_its_name() {
    let broken = OsString::from_vec(vec![0xff]);
    let error = Config::load(None, [("BIKHOOK_JOURNAL_PATH".into(), broken)]).err().unwrap().to_string();
    assert!(error.contains("the environment variable BIKHOOK_JOURNAL_PATH is not valid UTF-8"), "{error}");
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let error = load(Some(Path::new("nowhere/bikhook.toml")), &[]).err().unwrap();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(error.to_string().contains("nowhere/bikhook.toml"), "{error}");
}

#[test]
fn handlers_are_in_the_order_of_the_file() {
    let config =
        read("[handlers.z]\nkind = 'log'\n[handlers.a]\nkind = 'log'\n[handlers.m]\nkind = 'log'", &[])
            .unwrap();
    assert_eq!(config.handlers.iter().map(|handler| &*handler.name).collect::<Vec<_>>(), ["z", "a", "m"]);
}

/// The binary, in a directory of its own with no variables of ours.
fn bikhook(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_bikhook"))
        .args(args)
        .current_dir(home)
        .env_clear()
        .envs(variables.iter().copied().collect::<BTreeMap<_, _>>())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_shows_the_effective_configuration_and_creates_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = bikhook(home.path(), &["check"], &[("BIKHOOK_HTTP_LISTEN", "0.0.0.0:8080")]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("ok\n") && out.contains("0.0.0.0:8080") && out.contains("bik: /webhook"),
        "{out}"
    );
    assert!(err.contains("warning:") && err.contains("BIKHOOK_HTTP_LISTEN"), "{err}");
    assert_eq!(home.path().read_dir().unwrap().count(), 0, "nothing was made");
}

#[test]
fn an_unused_configuration_file_is_reported() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("bikhook.toml"), "[handlers.audit]\nkind = 'log'\n").unwrap();
    let (code, _, err) = bikhook(home.path(), &["check"], &[]);
    assert!(code == 0 && err.contains("bikhook.toml in this folder is ignored"), "{err}");
    assert!(err.contains("--config bikhook.toml"), "{err}");
    let (_, _, err) = bikhook(home.path(), &["check", "--config", "bikhook.toml"], &[]);
    assert!(!err.contains("in this folder is ignored"), "{err}");
}

#[test]
fn a_wrong_configuration_ends_with_code_2_and_plain_text() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("bikhook.toml"), "[http]\nlisen = 'x'\n").unwrap();
    for args in [["check", "--config", "bikhook.toml"], ["--config", "bikhook.toml", "check"]] {
        let (code, out, err) = bikhook(home.path(), &args, &[]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("bikhook.toml:2:1") && err.contains("did you mean `listen`?"), "{err}");
        assert!(!err.contains('\u{1b}'), "no colours where there is no terminal: {err:?}");
    }
    let (code, _, err) = bikhook(home.path(), &["check"], &[("BIKHOOK_CONFIG", "missing.toml")]);
    assert_eq!(code, 2);
    assert!(err.starts_with("error: cannot read the configuration missing.toml"), "{err}");
}

#[test]
fn auth_shows_what_to_paste_once_the_credential_exists() {
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = bikhook(home.path(), &["auth"], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("data/credential") && err.contains("start bikhook once"), "{err}");

    std::fs::create_dir(home.path().join("data")).unwrap();
    std::fs::write(home.path().join("data/credential"), "k-123\n").unwrap();
    let (code, out, _) = bikhook(home.path(), &["auth"], &[]);
    assert_eq!(code, 0);
    assert!(
        out.contains("http://127.0.0.1:8080/webhook") && out.contains("Authorization: Basic k-123"),
        "{out}"
    );

    let pair = [
        ("BIKHOOK_SOURCES_SHOP_CREDENTIALS_PORTAL_USERNAME", "bik"),
        ("BIKHOOK_SOURCES_SHOP_CREDENTIALS_PORTAL_PASSWORD", "it's"),
    ];
    let (code, out, _) = bikhook(home.path(), &["auth"], &pair);
    assert_eq!(code, 0);
    assert!(out.contains("Basic YmlrOml0J3M=") && out.contains(r"-u 'bik:it'\''s'"), "{out}");
}

#[test]
fn kinds_and_completions_need_no_configuration() {
    let home = tempfile::tempdir().unwrap();
    let broken = [("BIKHOOK_CONFIG", "missing.toml")];
    let (code, out, _) = bikhook(home.path(), &["kinds", "--json"], &broken);
    assert_eq!(code, 0);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), KINDS.len());
    for (line, row) in lines.iter().zip(KINDS) {
        assert_eq!(line["kind"], row.name);
        assert_eq!(line["keys"].as_array().unwrap().len(), (row.keys)().len());
    }
    let (code, out, _) = bikhook(home.path(), &["kinds"], &broken);
    assert_eq!(code, 0);
    assert!(KINDS.iter().all(|row| out.contains(row.name) && out.contains(row.about)), "{out}");
    let (code, out, _) = bikhook(home.path(), &["completions", "bash"], &broken);
    assert_eq!(code, 0);
    assert!(out.contains("_bikhook") && out.contains("check"), "{out}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_bikhook"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
