//! The image: its build context, and a receiver in a root directory that has only the files of the image.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

use super::{Place, USER, seconds, told};
use crate::support::{disk::as_root, receiver::Receiver};

const BINARY: &str = "/usr/local/bin/bikhook";
/// The C library files of the base image.
const LIBRARIES: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];

fn dockerfile() -> String {
    fs::read_to_string("Dockerfile").unwrap()
}

/// The `BIKHOOK_…` variables that the image sets.
fn variables() -> Vec<(String, String)> {
    let variables: Vec<_> = dockerfile()
        .split_whitespace()
        .filter(|word| word.starts_with("BIKHOOK_"))
        .map(|word| word.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(variables.len() >= 4, "{variables:?}");
    variables
}

#[test]
fn both_base_images_can_be_named_by_digest_and_the_page_says_how() {
    let dockerfile = dockerfile();
    let page = fs::read_to_string("docs/install.md").unwrap();
    let bases: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 2, "{bases:?}");
    for base in bases {
        let name = base.split_whitespace().next().unwrap();
        let argument = name
            .strip_prefix("${")
            .and_then(|name| name.strip_suffix('}'))
            .unwrap_or_else(|| panic!("{base}"));
        let default = format!("ARG {argument}=");
        let default = dockerfile.lines().find_map(|line| line.strip_prefix(&default)).expect("a default");
        assert!(page.contains(&format!("--build-arg {argument}={default}@sha256:")), "{argument}");
    }
}

#[test]
fn the_openssl_that_is_compiled_in_is_of_a_line_that_gets_fixes() {
    let lock = fs::read_to_string("Cargo.lock").unwrap();
    let packages = lock.split("[[package]]").filter(|package| package.contains("name = \"openssl-src\"\n"));
    // The version of the crate, and after a `+` that of OpenSSL; what is in vendor/ has none of its own.
    let built: Vec<&str> = packages
        .filter_map(|package| {
            package.lines().find_map(|line| line.strip_prefix("version = \"")?.split_once('+'))
        })
        .map(|(_, openssl)| openssl)
        .collect();
    assert!(matches!(built[..], [one] if one.starts_with("4.")), "{built:?}");
}

#[test]
fn the_configuration_of_the_image_is_valid_with_its_variables() {
    let variables = variables().into_iter().filter(|(name, _)| name != "BIKHOOK_CONFIG");
    let mut check = Command::new(env!("CARGO_BIN_EXE_bikhook"));
    check.args(["check", "--config", "config/container.toml"]).env_clear().envs(variables);
    let told = told(check.output().unwrap());
    for fact in ["0.0.0.0:8080", "0.0.0.0:8081, with credentials", "/data/journal.db", "/data/admin-password"]
    {
        assert!(told.contains(fact), "{fact} is not in:\n{told}");
    }
}

#[test]
fn the_build_context_has_every_target_and_every_copied_file() {
    let context = Place::new();
    for kept in fs::read_to_string(".dockerignore").unwrap().lines().filter_map(|line| line.strip_prefix('!'))
    {
        if Path::new(kept).exists() {
            let copied = Command::new("cp").arg("-r").arg(kept).arg(context.path(kept)).status();
            assert!(copied.unwrap().success(), "{kept}");
        }
    }
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"]);
    told(metadata.current_dir(context.path("")).output().unwrap());
    let dockerfile = dockerfile();
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY config/"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(copied, ["container.toml"]);
    assert!(context.path("config/container.toml").exists());
}

#[test]
fn the_binary_of_the_image_is_stripped_and_outside_of_the_build_caches() {
    let dockerfile = dockerfile();
    let caches: Vec<&str> = dockerfile
        .split("--mount=type=cache,target=")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    assert_eq!(caches, ["/usr/local/cargo/registry", "/src/target"]);
    let copied = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("COPY --from=build ")?.strip_suffix(&format!(" {BINARY}")));
    let copied = copied.expect("the binary is copied");
    assert!(!caches.iter().any(|cache| copied.starts_with(cache)), "{copied} is not in the layer");
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    let release = manifest["profile"]["release"].as_table().unwrap();
    assert_eq!((release["strip"].as_str(), release.get("debug")), (Some("debuginfo"), None));
}

#[test]
fn the_compose_project_has_a_name_and_its_service_is_an_accepted_host() {
    let compose = fs::read_to_string("config/compose.yaml").unwrap();
    assert!(
        compose.lines().any(|line| line == "name: bikhook"),
        "the volume would be named after the folder"
    );
    let (_, services) = compose.split_once("\nservices:\n").unwrap();
    let service = services.lines().next().unwrap().trim().trim_end_matches(':').to_owned();
    let config: toml::Table = fs::read_to_string("config/container.toml").unwrap().parse().unwrap();
    assert_eq!(config["admin"]["hosts"].as_array().unwrap(), &[toml::Value::from(service)]);
}

/// A root directory with the files of the image, read-only except the volume.
struct Image {
    place: Place,
    /// For files that are not in the image.
    beside: TempDir,
}

impl Image {
    fn build() -> Self {
        let place = Place::new();
        place.copy(Path::new(env!("CARGO_BIN_EXE_bikhook")), &BINARY[1..]);
        place.copy(Path::new("config/container.toml"), "etc/bikhook/bikhook.toml");
        for library in libraries() {
            place.copy(Path::new(&library), &library[1..]);
        }
        place.make_private("data");
        Self { place, beside: TempDir::new().unwrap() }
    }

    /// `bikhook` as the image runs it: with its variables and these, as its user, without further privileges.
    fn bikhook(&self, listen: (SocketAddr, SocketAddr), args: &[&str]) -> Command {
        const READ_ONLY: &str = r#"
            set -e
            mount --bind "$1" "$1"
            mount --bind "$1/data" "$1/data"
            mount -o remount,bind,ro "$1"
            cd "$1"
            shift
            exec "$@""#;
        let root = self.place.path("");
        let mut command = as_root("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"]).arg(&root);
        command.args(["setpriv", "--no-new-privs", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        for (name, value) in variables() {
            command.arg(format!("{name}={value}"));
        }
        // The last one counts. A test has no port of its own.
        command.arg(format!("BIKHOOK_HTTP_LISTEN={}", listen.0));
        command.arg(format!("BIKHOOK_ADMIN_LISTEN={}", listen.1));
        command.arg("chroot").arg(format!("--userspec={USER}:{USER}")).arg("--groups=");
        command.arg(&root).arg(BINARY).args(args);
        command
    }

    fn start(&self) -> Receiver {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Receiver::start(
            self.bikhook((everywhere, everywhere), &[]),
            &self.beside.path().join("log"),
            &self.place.path("data/journal.db.lock"),
        )
    }

    /// A command in the container of a running receiver, like `docker exec`.
    fn exec(&self, receiver: &Receiver, args: &[&str]) -> Output {
        self.bikhook((receiver.http, receiver.admin), args).output().unwrap()
    }

    /// A file of the volume.
    fn data(&self, name: &str) -> String {
        told(as_root("cat").arg(self.place.path("data").join(name)).output().unwrap())
    }

    /// Every file outside the volume.
    fn files(&self) -> BTreeSet<String> {
        let mut find = as_root("find");
        find.arg(self.place.path("")).args(["-path", "*/data/*", "-prune", "-o", "-print"]);
        told(find.output().unwrap()).lines().map(str::to_owned).collect()
    }

    /// Mode and owner of the files of the volume, by name: `600 65532`.
    fn modes(&self) -> Vec<(String, String)> {
        let mut find = as_root("find");
        find.arg(self.place.path("data")).args(["-type", "f", "-printf", "%f %m %U\n"]);
        let all = told(find.output().unwrap());
        all.lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect()
    }
}

/// The libraries that the binary is linked with, by path. All of them are in the base image.
fn libraries() -> Vec<String> {
    let listed = told(Command::new("ldd").arg(env!("CARGO_BIN_EXE_bikhook")).output().unwrap());
    let paths: Vec<String> =
        listed.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect();
    for path in &paths {
        let name = path.rsplit('/').next().unwrap();
        assert!(LIBRARIES.contains(&name), "{name} is not in the image");
    }
    paths
}

/// The answer to a sample of BIK's page, posted with the key of the volume.
fn post(receiver: &Receiver, key: &str) -> String {
    let url = format!("http://127.0.0.1:{}/webhook", receiver.http.port());
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "-H", &format!("Authorization: {key}")]);
    curl.args(["--data-binary", "@fixtures/bik/page/status-failed.json", &url]);
    told(curl.output().unwrap())
}

#[test]
fn in_the_image_it_serves_writes_to_its_volume_alone_and_stops_in_time() {
    let image = Image::build();
    let before = image.files();
    let receiver = image.start();
    let key = image.data("credential");
    assert!(post(&receiver, key.trim()).contains(r#""accepted":1"#));

    let said = receiver.said();
    assert!(said.contains("0.0.0.0:0 accepts connections from other machines over plain HTTP"), "{said}");
    assert!(said.contains(key.trim()), "what to paste into BIK's portal is shown at the first start");
    assert!(!said.contains(image.data("admin-password").trim()), "the operator's password is not");

    let process = receiver.pid();
    let proc = |file: &str| told(as_root("cat").arg(format!("/proc/{process}/{file}")).output().unwrap());
    let status = proc("status");
    for line in
        ["Uid:\t65532\t65532\t65532\t65532", "Groups:\t \n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"]
    {
        assert!(status.contains(line), "{line:?} is not in:\n{status}");
    }
    let mounts = proc("mountinfo");
    let mode = |at: &str| {
        let mut mounted = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        mounted.find(|fields| fields[4] == at).map(|fields| fields[5].split(',').next().unwrap().to_owned())
    };
    assert_eq!((mode("/").as_deref(), mode("/data").as_deref()), (Some("ro"), Some("rw")), "{mounts}");

    let (status, took) = receiver.stop();
    assert_eq!(status.code(), Some(0));
    let grace = seconds(&fs::read_to_string("config/compose.yaml").unwrap(), "stop_grace_period:");
    assert!(took < Duration::from_secs(grace), "{took:?}");
    assert_eq!(image.files(), before);
    let modes = image.modes();
    assert!(modes.len() >= 5, "{modes:?}");
    for (name, mode) in modes {
        let private = if name == "events.jsonl" { "640 65532" } else { "600 65532" };
        assert_eq!(mode, private, "{name}");
    }
    assert!(image.data("events.jsonl").contains(r#""status":"failed""#));
}

#[test]
fn in_the_image_the_health_check_and_the_commands_find_the_receiver() {
    let image = Image::build();
    let receiver = image.start();
    post(&receiver, image.data("credential").trim());

    let dockerfile = dockerfile();
    assert!(dockerfile.contains(r#"CMD ["/usr/local/bin/bikhook", "health"]"#));
    assert_eq!(told(image.exec(&receiver, &["health"])), "alive\n");
    assert!(told(image.exec(&receiver, &["auth"])).contains(image.data("credential").trim()));
    // These need the password of the volume.
    assert!(told(image.exec(&receiver, &["events"])).contains("message-status-update"));
    assert!(told(image.exec(&receiver, &["handlers"])).contains("jsonl"));

    // As Prometheus in another container asks, with the password that the first start made.
    let (http, admin) = (receiver.http, receiver.admin);
    let mut scrape = Command::new("curl");
    scrape.args(["-sS", "--fail-with-body", "-H", "Host: bikhook:8081"]);
    scrape.args(["-u", &format!("admin:{}", image.data("admin-password").trim())]);
    let metrics = told(scrape.arg(format!("http://127.0.0.1:{}/metrics", admin.port())).output().unwrap());
    assert!(metrics.contains("bikhook_journal_ready 1"), "{metrics}");
    receiver.kill();
    let health = image.bikhook((http, admin), &["health"]).output().unwrap();
    assert_eq!(health.status.code(), Some(1));

    let again = image.start();
    assert!(post(&again, image.data("credential").trim()).contains(r#""duplicates":1"#));
    assert!(!again.said().contains(image.data("credential").trim()), "the key is shown once");
}
