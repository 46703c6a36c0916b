//! Finds the names in a PromQL expression. promtool checks whether it is valid.

/// `name{label="value"}`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub name: String,
    /// Label, operator, value.
    pub matchers: Vec<(String, String, String)>,
}

/// The names in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub selectors: Vec<Selector>,
    /// In `by (…)`, `on (…)` and similar clauses.
    pub grouped_by: Vec<String>,
}

const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// Parses an expression. Every name that is not a function, operator or duration is a metric.
pub fn named(expression: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || first == '_' {
            let (word, after) = split_where(rest, |c| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
            rest = after.trim_start();
            if GROUPINGS.contains(&word) {
                let Some((labels, after)) = inside(rest, '(', ')') else { continue };
                named.grouped_by.extend(list(labels));
                rest = after;
            } else if !OPERATORS.contains(&word) && !rest.starts_with('(') && !is_aggregated(rest) {
                let mut selector = Selector { name: word.to_owned(), matchers: Vec::new() };
                if let Some((matchers, after)) = inside(rest, '{', '}') {
                    selector.matchers = matchers.split(',').map(matcher).collect();
                    rest = after;
                }
                named.selectors.push(selector);
            }
        } else if first.is_ascii_digit() || first == '$' {
            rest = split_where(&rest[1..], |c| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).1;
        } else if let Some((_range, after)) = inside(rest, '[', ']') {
            rest = after;
        } else {
            rest = &rest[first.len_utf8()..];
        }
        rest = rest.trim_start();
    }
    named
}

/// `sum by (…) (…)`: what comes before is an aggregation.
fn is_aggregated(rest: &str) -> bool {
    ["by", "without"]
        .iter()
        .any(|word| rest.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with('(')))
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn inside(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.strip_prefix(open)?.split_once(close)
}

fn list(labels: &str) -> impl Iterator<Item = String> {
    labels.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty())
}

fn matcher(text: &str) -> (String, String, String) {
    let (label, rest) = split_where(text.trim(), |c| "=!~".contains(c));
    let (operator, value) = split_where(rest, |c| c == '"');
    (label.to_owned(), operator.trim().to_owned(), value.trim_matches('"').to_owned())
}

#[test]
fn an_expression_is_taken_apart() {
    let named = named(
        r#"sum by (a, le) (rate(one_total{b="x", c=~"5..|y"}[$__rate_interval])) > 0.2 * 1024 ^ 3 unless on (d) max(two) and three{} > 1e3"#,
    );
    let names: Vec<&str> = named.selectors.iter().map(|selector| &*selector.name).collect();
    assert_eq!(names, ["one_total", "two", "three"]);
    let matchers = [("b", "=", "x"), ("c", "=~", "5..|y")].map(|(a, b, c)| (a.into(), b.into(), c.into()));
    assert_eq!(named.selectors[0].matchers, matchers);
    assert_eq!(named.grouped_by, ["a", "le", "d"]);
}
