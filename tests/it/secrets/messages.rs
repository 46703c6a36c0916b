//! A configuration with one mistake and one secret: no message shows the secret.

use std::{fs, process::Command};

use bikhook::config::Config;

/// The secrets: one of letters and digits, and one with characters that every quoting rule affects.
const SECRETS: [&str; 2] = ["q7Zt4WmPx2LrVn8s", "u\u{fc}9+Kd/p=w!Lr7m"];

/// A part of a secret of this length is a secret, too.
const PART_CHARS: usize = 6;

/// The places of a secret, marked `SECRET` in the last line. The lines before it belong to the same place.
const PLACES: [(&str, &str); 31] = [
    ("key", "[sources.bik]\ncredentials.portal = { key = \"SECRET\" }"),
    ("key with form", "[sources.bik]\ncredentials.portal = { form = \"header\", key = \"SECRET\" }"),
    ("key in its table", "[sources.bik.credentials.portal]\nkey = \"SECRET\""),
    ("key in single quotes", "[sources.bik.credentials.portal]\nkey = 'SECRET'"),
    ("dotted key", "[sources]\nbik.credentials.portal.key = \"SECRET\""),
    ("password", "[sources.bik]\ncredentials.portal = { username = \"bik\", password = \"SECRET\" }"),
    ("admin", "[admin]\ncredentials = { username = \"admin\", password = \"SECRET\" }"),
    ("admin table", "[admin.credentials]\nusername = \"admin\"\npassword = \"SECRET\""),
    ("user of a URL", "[handlers.x]\nkind = \"http\"\nurl = \"https://u:SECRET@crm.example/\""),
    ("path of a URL", "[handlers.x]\nkind = \"http\"\nurl = \"https://crm.example/SECRET\""),
    ("header", "[handlers.x]\nkind = \"http\"\nurl = \"https://h/\"\nheaders.X-Token = \"SECRET\""),
    (
        "headers",
        "[handlers.x]\nkind = \"http\"\nurl = \"https://h/\"\nheaders = { Authorization = \"Bearer SECRET\" }",
    ),
    ("signing key", "[handlers.x]\nkind = \"http\"\nurl = \"https://h/\"\nsigning_keys = [\"SECRET\"]"),
    (
        "signing keys",
        "[handlers.x]\nkind = \"http\"\nurl = \"https://h/\"\nsigning_keys = [\"whsec_abc\", \"whsec_SECRET\"]",
    ),
    ("argument", "[handlers.x]\nkind = \"exec\"\ncommand = [\"cat\", \"--token=SECRET\"]"),
    ("environment", "[handlers.x]\nkind = \"exec\"\ncommand = [\"cat\"]\nenv = { TOKEN = \"SECRET\" }"),
    ("postgres URL", "[handlers.x]\nkind = \"postgres\"\nurl = \"postgres://u:SECRET@db.example/bik\""),
    ("postgres words", "[handlers.x]\nkind = \"postgres\"\nurl = \"host=db.example user=u password=SECRET\""),
    (
        "postgres password",
        "[handlers.x]\nkind = \"postgres\"\nurl = \"postgres://u@h/bik\"\npassword = \"SECRET\"",
    ),
    ("nats servers", "[handlers.x]\nkind = \"nats\"\nurl = [\"nats://a\", \"nats://u:SECRET@b.example\"]"),
    ("nats token", "[handlers.x]\nkind = \"nats\"\nurl = \"nats://a\"\ntoken = \"SECRET\""),
    ("nkey", "[handlers.x]\nkind = \"nats\"\nurl = \"nats://a\"\nnkey = \"SECRET\""),
    ("nats credentials", "[handlers.x]\nkind = \"nats\"\nurl = \"nats://a\"\ncredentials = \"SECRET\""),
    ("redis URL", "[handlers.x]\nkind = \"redis\"\nurl = \"rediss://u:SECRET@r.example\""),
    (
        "rabbitmq URL",
        "[handlers.x]\nkind = \"rabbitmq\"\nexchange = \"bik\"\nurl = \"amqps://u:SECRET@mq.example/shop\"",
    ),
    ("s3 endpoint", "[handlers.x]\nkind = \"s3\"\nbucket = \"b\"\nendpoint = \"https://u:SECRET@m.example\""),
    (
        "s3 key",
        "[handlers.x]\nkind = \"s3\"\nbucket = \"b\"\naccess_key_id = \"AK\"\nsecret_access_key = \"SECRET\"",
    ),
    (
        "kafka password",
        "[handlers.x]\nkind = \"kafka\"\nbrokers = \"k:1\"\nuser = \"u\"\npassword = \"SECRET\"",
    ),
    ("mask key", "[handlers.x]\nkind = \"log\"\nmask = { hash = [\"/id\"], key = \"SECRET\" }"),
    ("condition", "[handlers.x]\nkind = \"log\"\nwhere = [{ pointer = \"/phone\", equals = \"SECRET\" }]"),
    ("span exporter", "[log]\notlp = \"https://u:SECRET@otel.example\""),
];

/// Returns the line with the secret after a mistake was made in it.
type Mistake = fn(&str) -> String;

const MISTAKES: [(&str, Mistake); 29] = [
    ("nothing", str::to_owned),
    ("key misspelt", |line| replace_last(line, " = ", "x = ")),
    ("key unlike any", |line| replace_last(line, " = ", "_zzzzzzzz = ")),
    ("no closing quote", |line| replace_last(line, quote(line), "")),
    ("no opening quote", |line| line.replacen(&format!("{}{}", quote(line), value(line)), value(line), 1)),
    ("no quotes", |line| line.replacen(&quoted(line), value(line), 1)),
    ("mixed quotes", |line| line.replacen(&quoted(line), &format!("\"{}'", value(line)), 1)),
    ("two colons", |line| line.replace(" = ", ": ")),
    ("no equals sign", |line| line.replace(" = ", " ")),
    ("an unclosed text of many lines", |line| {
        line.replacen(&quoted(line), &format!("\"\"\"\n{}\n", value(line)), 1)
    }),
    ("a text of many lines", |line| {
        line.replacen(&quoted(line), &format!("'''\n{}\n''' zzz", value(line)), 1)
    }),
    ("an unknown escape", |line| line.replacen(value(line), &format!("\\q{}", value(line)), 1)),
    ("a list", |line| line.replacen(&quoted(line), &format!("[{}]", quoted(line)), 1)),
    ("a list that is not closed", |line| line.replacen(&quoted(line), &format!("[{}", quoted(line)), 1)),
    ("a table", |line| line.replacen(&quoted(line), &format!("{{ value = {} }}", quoted(line)), 1)),
    ("a misspelt form", |line| line.replacen(&quoted(line), &format!("{{ evn = {} }}", quoted(line)), 1)),
    ("in place of a variable's name", |line| {
        line.replacen(&quoted(line), &format!("{{ env = {} }}", quoted(line)), 1)
    }),
    ("in place of a file's name", |line| {
        line.replacen(&quoted(line), &format!("{{ file = {} }}", quoted(line)), 1)
    }),
    ("as a form", |line| line.replacen(&quoted(line), &format!("{{ {} = 1 }}", quoted(line)), 1)),
    ("two forms", |line| {
        line.replacen(&quoted(line), &format!("{{ env = \"X\", file = {} }}", quoted(line)), 1)
    }),
    ("a word after it", |line| format!("{line} zzz")),
    ("a secret in the comment", |line| format!("{line} zzz # before: {}", value(line))),
    ("twice", |line| format!("{line}\n{line}")),
    ("a number after it", |line| format!("{line}\nbody_limit = 99999999999999999999999999999999999999999")),
    ("as a key", |line| format!("{} = true", quoted(line))),
    ("as a bare key", |line| format!("{} = {{ zzz = 1 }}", value(line))),
    ("as a header", |line| format!("[sources.{}]\nkey = 1", quoted(line))),
    ("an unknown key beside it", |line| format!("{line}\nzzzzzzzz = \"and {}\"", value(line))),
    ("a brace too many", |line| format!("{line} }}")),
];

fn quote(line: &str) -> &'static str {
    if line.contains('"') { "\"" } else { "'" }
}

/// The text with the secret, without its quotes.
fn value(line: &str) -> &str {
    line.split(quote(line)).find(|part| part.contains("SECRET")).unwrap()
}

fn quoted(line: &str) -> String {
    format!("{0}{1}{0}", quote(line), value(line))
}

fn replace_last(line: &str, from: &str, to: &str) -> String {
    let (before, after) = line.rsplit_once(from).unwrap();
    format!("{before}{to}{after}")
}

/// A file for each place, mistake and secret: its name, its text, and the secret in it.
fn files() -> Vec<(String, String, &'static str)> {
    let mut files = Vec::new();
    for (place, text) in PLACES {
        let (head, line) = text.rsplit_once('\n').unwrap();
        for (mistake, write) in MISTAKES {
            for secret in SECRETS {
                let text = format!("{head}\n{}\n", write(line)).replace("SECRET", secret);
                files.push((format!("{place}, {mistake}, {secret}"), text, secret));
            }
        }
    }
    files
}

/// Whether a message has a part of the secret.
fn tells(message: &str, secret: &str) -> bool {
    let chars: Vec<char> = secret.chars().collect();
    chars.windows(PART_CHARS).any(|part| message.contains(&part.iter().collect::<String>()))
}

#[test]
fn no_message_of_a_wrong_configuration_shows_a_secret() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("bikhook.toml");
    let (mut wrong, mut leaks) = (0, Vec::new());
    for (name, text, secret) in files() {
        fs::write(&path, &text).unwrap();
        let said = match Config::load(Some(&path), []) {
            Ok(config) => format!("{}{:?}", config.warnings, config.warnings),
            Err(error) => {
                wrong += 1;
                format!("{error}{error:?}")
            }
        };
        if tells(&said, secret) {
            leaks.push(format!("{name}:\n{text}\n{said}"));
        }
    }
    assert!(wrong > 1_000, "only {wrong} of the files are wrong");
    assert!(
        leaks.is_empty(),
        "{} of {wrong} wrong files show their secret:\n{}",
        leaks.len(),
        leaks.join("\n\n")
    );
}

#[test]
fn no_message_shows_the_value_of_a_variable() {
    let base = "[sources.bik]\ncredentials.portal = { key = \"0123456789abcdef\" }\n\
                [handlers.x]\nkind = \"http\"\nurl = \"https://h/\"\n[handlers.n]\nkind = \"nats\"\nurl = \"nats://h\"\n\
                [handlers.m]\nkind = \"log\"\nmask = { hash = [\"/id\"], key = \"0123456789abcdef\" }\n";
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("bikhook.toml");
    fs::write(&path, base).unwrap();
    let secret = SECRETS[0];
    let mut wrong = 0;
    for (name, value) in [
        ("BIKHOOK_HANDLERS_X_URL", format!("htp://u:{secret}@h")),
        ("BIKHOOK_HANDLERS_X_SIGNING_KEYS", secret.to_owned()),
        ("BIKHOOK_HANDLERS_X_SIGNING_KEYS", format!("[\"whsec_x\", \"{secret}\"]")),
        ("BIKHOOK_HANDLERS_X_HEADERS", secret.to_owned()),
        ("BIKHOOK_HANDLERS_N_URL", format!("[\"nats://a\", \"x://u:{secret}@b\"]")),
        ("BIKHOOK_HANDLERS_N_TOKEN", format!("{secret}\n{secret}")),
        ("BIKHOOK_HANDLERS_N_NKEY", secret.to_owned()),
        ("BIKHOOK_HANDLERS_M_MASK_KEY", "short".to_owned()),
        ("BIKHOOK_HANDLERS_M_MASK_KEY_FILE", secret.to_owned()),
        ("BIKHOOK_ADMIN_CREDENTIALS_USERNAME", format!("{secret}:x")),
        ("BIKHOOK_ADMIN_CREDENTIALS_PASSWORD_FILE", secret.to_owned()),
        ("BIKHOOK_SOURCES_BIK_CREDENTIALS_OTHER_USERNAME", secret.to_owned()),
        ("BIKHOOK_LOG_OTLP", format!("x://u:{secret}@h")),
    ] {
        let said = match Config::load(Some(&path), [(name.into(), value.clone().into())]) {
            Ok(config) => format!("{}{:?}", config.warnings, config.warnings),
            Err(error) => {
                wrong += 1;
                format!("{error}{error:?}")
            }
        };
        assert!(!tells(&said, secret), "{name}={value}:\n{said}");
    }
    assert!(wrong > 8, "only {wrong} of the variables are wrong");
}

#[test]
fn neither_check_nor_a_start_shows_a_secret_of_a_wrong_file() {
    let home = tempfile::tempdir().unwrap();
    let said = |command: &str| {
        let mut bikhook = Command::new(env!("CARGO_BIN_EXE_bikhook"));
        let ended =
            bikhook.args([command, "--config", "bikhook.toml"]).current_dir(home.path()).output().unwrap();
        (ended.status.code(), String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap())
    };
    let mut leaks = Vec::new();
    let files: Vec<_> = files().into_iter().step_by(19).collect();
    for (at, (name, text, secret)) in files.iter().enumerate() {
        fs::write(home.path().join("bikhook.toml"), text).unwrap();
        let (code, checked) = said("check");
        // With a valid file, the process would keep running.
        let started = if at % 5 == 0 && code == Some(2) { said("serve").1 } else { String::new() };
        if tells(&checked, secret) || tells(&started, secret) {
            leaks.push(format!("{name}:\n{text}\n{checked}\n{started}"));
        }
    }
    assert!(files.len() > 90, "{}", files.len());
    assert!(
        leaks.is_empty(),
        "{} of {} files show their secret:\n{}",
        leaks.len(),
        files.len(),
        leaks.join("\n\n")
    );
}
