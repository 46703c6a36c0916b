//! The columns of the rows that the handler kinds with tables write, as SQL for the bare runs.

use bikhook::handler::row::{COLUMNS, Column};

/// The names of the columns, with commas.
pub fn names() -> String {
    COLUMNS.map(|column| column.name).join(", ")
}

/// The definitions of the columns for a new table, with commas.
pub fn definitions(of: fn(&Column) -> &'static str) -> String {
    let definition = |column: &Column| {
        let required = if column.required { " NOT NULL" } else { "" };
        let primary = if column.name == COLUMNS[0].name { " PRIMARY KEY" } else { "" };
        format!("{} {}{required}{primary}", column.name, of(column))
    };
    COLUMNS.each_ref().map(definition).join(", ")
}
