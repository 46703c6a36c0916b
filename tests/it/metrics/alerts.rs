//! config/alerts.yml and config/grafana.json: promtool accepts them, and they name only exported metrics.

use std::{collections::BTreeSet, fmt::Write as _, fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{page::Page, promql, scrape, start};
use crate::support::home::Home;

/// Labels that Prometheus adds.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];
/// Metrics of Prometheus itself.
const BY_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

fn alerts() -> String {
    fs::read_to_string("config/alerts.yml").unwrap()
}

/// Each alert: its name, and its lines.
fn rules() -> Vec<(String, String)> {
    let alerts = alerts();
    let rules = alerts.split("      - alert: ").skip(1).map(|rule| rule.split_once('\n').unwrap());
    let rules: Vec<_> = rules.map(|(name, rule)| (name.to_owned(), rule.to_owned())).collect();
    assert!(rules.len() > 10, "the alerts were not found");
    rules
}

fn expression(rule: &str) -> &str {
    let (expression, _) = rule.split_once("expr: ").unwrap().1.split_once("\n        for: ").unwrap();
    expression.strip_prefix(">-").unwrap_or(expression)
}

/// All values of this key, at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    other => texts(other, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string("config/grafana.json").unwrap()).unwrap()
}

fn expressions(dashboard: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    texts(dashboard, "expr", &mut found);
    assert!(found.len() > 30, "the expressions were not found");
    found
}

/// The complaint of promtool; `None` if there is none.
pub(super) fn promtool(args: &[&str]) -> Option<String> {
    let ended =
        Command::new("promtool").args(args).output().expect("promtool: Debian's package is `prometheus`");
    let said = [ended.stdout, ended.stderr].concat();
    (!ended.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn promtool_takes_the_alerts_and_each_fires_when_it_should() {
    assert_eq!(promtool(&["check", "rules", "config/alerts.yml"]), None);
    assert_eq!(promtool(&["test", "rules", "config/alerts.test.yml"]), None);
    let tests = fs::read_to_string("config/alerts.test.yml").unwrap();
    for (name, rule) in rules() {
        for part in ["expr: ", "\n        for: ", "severity: ", "summary: ", "description: "] {
            assert_eq!(rule.matches(part).count(), 1, "{name}: {part}");
        }
        assert!(
            ["critical", "warning"].iter().any(|severity| rule.contains(&format!("severity: {severity} }}"))),
            "{name}"
        );
        assert!(tests.contains(&format!("ALERTS{{alertname=\"{name}\",")), "no test has {name} fire");
    }
}

#[test]
fn promtool_takes_every_expression_of_the_dashboard() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("rules.yml");
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (at, expression) in expressions(&dashboard()).into_iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m");
        writeln!(rules, "  - record: panel_{at}\n    expr: |-\n      {expression}").unwrap();
    }
    fs::write(&file, rules).unwrap();
    assert_eq!(promtool(&["check", "rules", file.to_str().unwrap()]), None);
}

#[test]
fn alerts_and_dashboard_name_only_what_is_exported() {
    let home = Home::new();
    let process = start(&home);
    let page = scrape(&process);
    let all: BTreeSet<String> = page.labels_by_metric().into_values().flatten().collect();
    let grouped = |label: &str| all.contains(label) || label == "le" || OF_PROMETHEUS.contains(&label);

    let (rules, dashboard) = (rules(), dashboard());
    let of_alerts = rules.iter().map(|(_, rule)| expression(rule));
    for expression in of_alerts.chain(expressions(&dashboard)) {
        let named = promql::named(expression);
        assert!(!named.selectors.is_empty(), "{expression} asks for nothing");
        for selector in named.selectors.iter().filter(|one| !BY_PROMETHEUS.contains(&&*one.name)) {
            assert!(page.has(&selector.name), "there is no {}: {expression}", selector.name);
            for (label, operator, value) in &selector.matchers {
                assert!(
                    is_there(&page, &selector.name, label, operator, value),
                    "{label}{operator}{value}: {expression}"
                );
            }
        }
        for label in &named.grouped_by {
            assert!(grouped(label), "no metric has the label {label}: {expression}");
        }
    }
    let mut legends = Vec::new();
    texts(&dashboard, "legendFormat", &mut legends);
    let texts = alerts();
    for label in
        legends.iter().flat_map(|legend| legend.split("{{").skip(1)).chain(texts.split("{{ $labels.").skip(1))
    {
        let label = label.split("}}").next().unwrap().trim();
        assert!(grouped(label), "no metric has the label {label}");
    }
}

/// Returns whether the metric has the label, and each of the given values in some series.
fn is_there(page: &Page, metric: &str, label: &str, operator: &str, value: &str) -> bool {
    if OF_PROMETHEUS.contains(&label) {
        return true;
    }
    let values = page.values(metric);
    let Some(values) = values.get(label) else { return false };
    let like = |pattern: &str, value: &&str| {
        pattern.len() == value.len() && pattern.chars().zip(value.chars()).all(|(a, b)| a == '.' || a == b)
    };
    match operator {
        "=~" | "!~" => value.split('|').all(|one| values.iter().any(|value| like(one, value))),
        _ => values.contains(value),
    }
}

#[test]
fn names_that_are_not_exported_are_detected() {
    let page = Page::read("# TYPE a gauge\na{b=\"xy\"} 1\n# EOF\n");
    for (label, operator, value, there) in [
        ("b", "=", "xy", true),
        ("b", "=~", "x.|xy", true),
        ("b", "=", "z", false),
        ("b", "=~", "xy|z.", false),
        ("c", "=", "xy", false),
    ] {
        assert_eq!(is_there(&page, "a", label, operator, value), there, "{label}{operator}{value}");
    }
}
