//! Checks of the structure: imports go in one direction, and names have a meaning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use bikhook::handler::{ABSENT, KINDS};

/// Modules in order of dependency: each uses only those after it.
const ORDER: [&str; 17] = [
    "main", "cli", "app", "config", "admin", "http", "dispatch", "insight", "handler", "journal", "event",
    "settings", "secret", "metrics", "trace", "lock", "disk",
];
/// Modules that every module may use, and that use no others.
const GROUND: [&str; 6] = ["clock", "file_id", "folder", "names", "panics", "plural"];

/// Further forbidden dependencies.
const NEVER: [(&str, &[&str]); 2] = [("http", &["dispatch", "handler"]), ("handler", &["journal"])];

const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    assert!(files.len() > 30, "the sources were not found");
    files
}

/// The Rust files of the library, the tests and the benches.
fn all_rust_files() -> Vec<PathBuf> {
    let mut files = sources();
    for folder in ["tests", "benches"] {
        rust_files(&root().join(folder), &mut files);
    }
    files
}

/// The file of a module. `folder` is `src` or `tests/it`.
fn module_file(folder: &str, module: &str) -> PathBuf {
    let path = root().join(folder).join(module.replace("::", "/"));
    let file = path.with_extension("rs");
    if file.exists() { file } else { path.join("mod.rs") }
}

/// The top-level module that a file belongs to.
fn module(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file, without tests, comments and quoted text.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The top-level modules that a text names by `crate::…` or `crate::{…}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut name = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => {
                        found.push(std::mem::take(&mut name));
                        break;
                    }
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(letter),
                    _ => {}
                }
            }
        } else {
            found
                .push(rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
        }
    }
    let module = |name: String| name.trim().split("::").next().unwrap_or_default().trim().to_owned();
    found.into_iter().map(module).filter(|name| !name.is_empty()).collect()
}

/// Hidden files and folders of the repository. A test writes below `target/` or into a temporary folder.
const HIDDEN: [&str; 6] = [".cargo", ".ci", ".clippy.toml", ".dockerignore", ".git", ".gitignore"];

#[test]
fn no_test_or_tool_leaves_hidden_files_in_the_repository() {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let left: Vec<_> = names.filter(|name| name.starts_with('.') && !HIDDEN.contains(&&**name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_module_with_submodules_is_a_folder_with_a_mod_rs() {
    let parents: BTreeSet<PathBuf> =
        all_rust_files().iter().filter_map(|file| Some(file.parent()?.with_extension("rs"))).collect();
    assert!(parents.len() > 30, "the folders were not found");
    let beside: Vec<_> = parents.into_iter().filter(|file| file.exists()).collect();
    assert!(beside.is_empty(), "move each to the mod.rs of its folder: {beside:?}");
}

/// The names of the functions below `#[test]` and `#[tokio::test]`.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let after =
        ["#[test]", "#[tokio::test"].into_iter().flat_map(move |attribute| text.split(attribute).skip(1));
    after.filter_map(|rest| rest.split_once("fn ")?.1.split('(').next())
}

#[test]
fn names_of_tests_have_at_most_70_characters() {
    let texts: Vec<String> = all_rust_files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let names: Vec<&str> = texts.iter().flat_map(|text| test_names(text)).collect();
    assert!(names.len() > 500, "the tests were not found");
    let long: Vec<_> = names.into_iter().filter(|name| name.len() > 70).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn imports_are_read_from_single_lines_and_from_groups() {
    let code =
        "use crate::clock; use crate::{event::{Draft, Event}, journal, http::{self}}; crate::handler::x()";
    assert_eq!(imports(code), ["clock", "event", "journal", "http", "handler"]);
}

#[test]
fn a_module_uses_only_what_is_below_it() {
    let place: BTreeMap<&str, usize> = ORDER.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for file in sources() {
        let user = module(&file);
        if user == "lib" {
            continue;
        }
        for used in imports(&code(&file)) {
            looked_at += 1;
            if used == user || GROUND.contains(&used.as_str()) {
                continue;
            }
            let never = NEVER.iter().any(|(name, absent)| *name == user && absent.contains(&used.as_str()));
            let upward = match (place.get(user.as_str()), place.get(used.as_str())) {
                (Some(user), Some(used)) => used <= user,
                _ => true,
            };
            if upward || never {
                wrong.push(format!("{}: {user} uses {used}", file.display()));
            }
        }
    }
    assert!(looked_at > 50, "no imports were found");
    assert!(wrong.is_empty(), "imports that point the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn names_say_something() {
    let empty: Vec<_> = sources()
        .into_iter()
        .filter(|file| EMPTY_NAMES.contains(&file.file_stem().unwrap().to_string_lossy().as_ref()))
        .collect();
    assert!(empty.is_empty(), "{empty:?}");
}

const ITEMS: [&str; 8] = ["async", "const", "enum", "fn", "static", "struct", "trait", "type"];

/// The `pub` items of a file without a doc line. Constructors, fields and variants need none.
fn undocumented(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_documented = false;
    // An attribute may have several lines.
    let mut is_attribute = false;
    for line in text.lines().map(str::trim) {
        is_attribute |= line.starts_with("#[");
        if is_attribute {
            is_attribute = !line.contains(")]") && !line.ends_with(']');
            continue;
        }
        let item = line.strip_prefix("pub ").and_then(|item| item.split(' ').next());
        let is_item = item.is_some_and(|item| ITEMS.contains(&item)) && !line.contains("fn new(");
        if is_item && !is_documented {
            found.push(line);
        }
        is_documented = line.starts_with("///") || line.starts_with("$(#[");
    }
    found
}

#[test]
fn every_file_and_every_public_item_has_a_doc_line() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.display();
        if !text.starts_with("//!") {
            wrong.push(format!("{name} does not say what it is"));
        }
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        wrong.extend(undocumented(code).into_iter().map(|item| format!("{name}: {item}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        undocumented("/// A.\n#[derive(\n    X,\n)]\npub struct A;\npub fn b() {}"),
        ["pub fn b() {}"]
    );
}

/// The steps of "A new kind of handler" in CONTRIBUTING.md.
#[test]
fn every_kind_has_its_file_feature_fixture_and_section() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_default();
    let (modules, table) = (read("src/handler/mod.rs"), read("src/handler/table.rs"));
    let (manifest, page) = (read("Cargo.toml"), read("docs/handlers.md"));
    let fixtures = read("tests/it/kinds/mod.rs");
    let kinds: Vec<&str> = KINDS.iter().map(|row| row.name).chain(ABSENT.iter().copied()).collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    for kind in kinds {
        let files = [format!("src/handler/{kind}.rs"), format!("src/handler/{kind}/mod.rs")];
        assert!(files.iter().any(|file| root().join(file).exists()), "{kind} has no file of its name");
        let is_optional = modules.contains(&format!("#[cfg(feature = \"{kind}\")]\nmod {kind};\n"));
        let may_be_absent = table.contains(&format!("#[cfg(not(feature = \"{kind}\"))]\n    \"{kind}\",\n"));
        let has_feature = manifest.contains(&format!("\n{kind} = [\"dep:"));
        assert_eq!(is_optional, has_feature, "{kind}: its `mod` line and its feature in Cargo.toml");
        assert_eq!(is_optional, may_be_absent, "{kind}: its `mod` line and its name in ABSENT");
        let fixture = read(&format!("tests/it/kinds/{kind}.rs"));
        assert!(fixture.contains("pub const FIXTURE: Fixture"), "{kind} has no fixture");
        assert!(fixtures.contains(&format!("    {kind}::FIXTURE,\n")), "{kind} is not in FIXTURES");
        assert!(page.contains(&format!("\n## `{kind}`\n")), "{kind} has no section");
        let feature = format!("feature = \"{kind}\"");
        let own = [root().join("src/handler/mod.rs"), root().join("src/handler/table.rs")];
        for file in sources().iter().filter(|file| !own.contains(file)) {
            assert!(!fs::read_to_string(file).unwrap().contains(&feature), "{}: {feature}", file.display());
        }
    }
}

/// The beginning of the heading in docs/bik.md that a word such as `T6` or `§2` refers to.
fn heading_of(word: &str) -> Option<String> {
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rule) = word.strip_prefix('T').filter(is_number) {
        return Some(format!("\n### T{rule}: "));
    }
    let section = word.strip_prefix('§').filter(is_number)?;
    Some(format!("\n## {section}. "))
}

#[test]
fn every_rule_of_bik_that_a_comment_names_is_in_the_documents() {
    let page = fs::read_to_string(root().join("docs/bik.md")).unwrap();
    let mut named = BTreeSet::new();
    for file in sources() {
        let text = fs::read_to_string(file).unwrap();
        for comment in text.lines().filter_map(|line| Some(line.split_once("//")?.1)) {
            let words = comment.split(|letter: char| !letter.is_alphanumeric() && letter != '§');
            named.extend(words.filter_map(heading_of));
        }
    }
    assert!(named.len() > 10, "no rules were found: {named:?}");
    for heading in named {
        assert!(page.contains(&heading), "docs/bik.md has no {heading:?}");
    }
}

/// A mistake in one place of the code, as `tests/mutants/run` makes it: the file, the lines that are taken out, the file and
/// the name of the test that must catch it.
struct Mutant {
    name: String,
    file: String,
    out: Vec<String>,
    tests: PathBuf,
    test: String,
}

fn mutants() -> Vec<Mutant> {
    let entries = fs::read_dir(root().join("tests/mutants")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        let after = |start: &str| -> Vec<String> {
            text.lines()
                .filter_map(|line| line.strip_prefix(start))
                .map(|rest| rest.trim().to_owned())
                .collect()
        };
        let (test, unit) = (after("test ").concat(), after("unit ").concat());
        let (folder, test) = if unit.is_empty() { ("tests/it", test) } else { ("src", unit) };
        let (modules, test) = test.rsplit_once("::").expect("a module and a test");
        let tests = module_file(folder, modules.trim_end_matches("::tests"));
        Mutant { name, file: after("file ").concat(), out: after("-"), tests, test: test.to_owned() }
    };
    entries.filter(|path| !path.ends_with("run")).map(read).collect()
}

#[test]
fn every_mutant_applies_and_names_a_test_that_is_there() {
    let mutants = mutants();
    assert!(mutants.len() >= 9, "the mutants were not found");
    let mut wrong = Vec::new();
    for Mutant { name, file, out, tests, test } in mutants {
        let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let places = lines.windows(out.len().max(1)).filter(|lines| *lines == out).count();
        if places != 1 {
            wrong.push(format!("{name}: its lines are {places} times in {file}"));
        }
        let text = fs::read_to_string(&tests).unwrap_or_default();
        if !text.contains(&format!("fn {test}(")) {
            wrong.push(format!("{name}: {} has no test {test}", tests.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
