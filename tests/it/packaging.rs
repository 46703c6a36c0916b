//! What can be checked of the image without an engine to build it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// The `BIKHOOK_…` variables that the image sets.
fn variables_of_the_image() -> Vec<(String, String)> {
    let dockerfile = fs::read_to_string("Dockerfile").unwrap();
    let variables: Vec<_> = dockerfile
        .split_whitespace()
        .filter(|word| word.starts_with("BIKHOOK_"))
        .map(|word| word.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(variables.len() >= 4, "{variables:?}");
    variables
}

fn check_as_in_the_image() -> Output {
    let variables = variables_of_the_image().into_iter().filter(|(name, _)| name != "BIKHOOK_CONFIG");
    Command::new(env!("CARGO_BIN_EXE_bikhook"))
        .args(["check", "--config", "config/container.toml"])
        .env_clear()
        .envs(variables)
        .output()
        .unwrap()
}

#[test]
fn the_configuration_of_the_image_is_accepted_with_the_variables_of_the_image() {
    let output = check_as_in_the_image();
    let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    for fact in ["0.0.0.0:8080", "0.0.0.0:8081, with credentials", "/data/journal.db", "/data/admin-password"]
    {
        assert!(told.contains(fact), "{fact} is not in:\n{told}");
    }
}

#[test]
fn what_the_image_copies_is_there_and_let_through_to_the_build() {
    let ignored = fs::read_to_string(".dockerignore").unwrap();
    let let_through: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for needed in ["Cargo.toml", "Cargo.lock", "src", "config"] {
        assert!(let_through.contains(&needed), "{needed} does not reach the build");
        assert!(Path::new(needed).exists());
    }
    let dockerfile = fs::read_to_string("Dockerfile").unwrap();
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY config/"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(copied, ["container.toml"]);
    assert!(Path::new("config/container.toml").exists());
}
