//! The `log` kind. Its destination cannot be away, so it has no contract.

use crate::kinds::Fixture;

pub const FIXTURE: Fixture =
    Fixture { kind: "log", destination: None, wrong: &[("personal_data = \"perhaps\"", "personal_data")] };
