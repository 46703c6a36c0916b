//! The shipped alerts after each action of an operator: they are evaluated over the real `/metrics`.

use std::{fmt::Write as _, fs, sync::Arc, sync::atomic::Ordering::SeqCst};

use bikhook::{
    clock::Timestamp,
    event::Class,
    journal::{Ends, Journal, NewDead, sqlite::SqliteJournal},
    metrics::Metrics,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{alerts::promtool, page::Page};
use crate::{
    handlers::until,
    support::{
        events::{batch, status},
        journals::{Place, from_beginning, lane, refused},
        operator::{Guard, Operator},
    },
};

async fn scraped(operator: &Operator) -> Page {
    Page::read(&reqwest::get(operator.url("/metrics")).await.unwrap().text().await.unwrap())
}

async fn ask(operator: &Operator, path: &str, body: Value) -> Value {
    let asked = reqwest::Client::new().post(operator.url(&format!("/api/v1/{path}"))).json(&body);
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// Checks which alerts fire if the metrics stay for 80 minutes as they are now.
#[track_caller]
fn assert_fire(page: &Page, alerts: &[&str]) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("test.yml");
    let rules = fs::canonicalize("config/alerts.yml").unwrap();
    let mut test = format!(
        "rule_files: [{}]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n",
        rules.display()
    );
    for sample in page.samples.iter().filter(|sample| !sample.value.is_nan()) {
        let labels = sample.labels.iter().map(|(label, value)| format!("{label}=\"{value}\", "));
        let (name, labels) = (&sample.name, labels.collect::<String>());
        writeln!(test, "  - series: '{name}{{{labels}instance=\"a\"}}'\n    values: \"{}x90\"", sample.value)
            .unwrap();
    }
    let fired = alerts.iter().map(|alert| format!("{{labels: '{{alertname=\"{alert}\"}}', value: 1}}"));
    writeln!(
        test,
        "  promql_expr_test:\n  - expr: 'max by (alertname) (ALERTS{{alertstate=\"firing\"}})'\n    \
         eval_time: 80m\n    exp_samples: [{}]",
        fired.collect::<Vec<_>>().join(", ")
    )
    .unwrap();
    fs::write(&file, test).unwrap();
    assert_eq!(promtool(&["test", "rules", file.to_str().unwrap()]), None);
}

/// Waits until a gauge of the handler `crm` has this value.
async fn await_gauge(operator: &Operator, name: &str, value: f64) {
    until(async || {
        let labels = [("handler", "crm"), ("lane", "other")];
        (scraped(operator).await.value(name, &labels) - value).abs() < f64::EPSILON
    })
    .await;
}

async fn await_no_series_of_a_replay(operator: &Operator) {
    let gauge = |series: &&String| series.starts_with("bikhook_lane_") && series.contains("replay-");
    until(async || !scraped(operator).await.series().iter().any(|series| gauge(&series))).await;
}

#[tokio::test]
async fn alerts_of_lanes_fire_and_resolve_after_each_action() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent")]).await;
    await_gauge(&operator, "bikhook_lane_waiting", 1.0).await;
    assert_fire(&scraped(&operator).await, &["BikhookHandlerWaiting"]);
    operator.destination.well.store(true, SeqCst);
    await_gauge(&operator, "bikhook_lane_waiting", 0.0).await;
    assert_fire(&scraped(&operator).await, &[]);

    ask(&operator, "handlers/crm/pause", json!({})).await;
    await_gauge(&operator, "bikhook_lane_paused", 1.0).await;
    assert_fire(&scraped(&operator).await, &["BikhookHandlerPaused"]);
    ask(&operator, "handlers/crm/resume", json!({})).await;
    await_gauge(&operator, "bikhook_lane_paused", 0.0).await;
    assert_fire(&scraped(&operator).await, &[]);

    operator.bury(1).await;
    assert_fire(&scraped(&operator).await, &["BikhookDeadLetters"]);
    ask(&operator, "dead/drop", json!({"ids": [1]})).await;
    assert_fire(&scraped(&operator).await, &[]);
}

#[tokio::test]
async fn an_ended_replay_leaves_no_series_and_no_alert() {
    let operator = Operator::new().await;
    operator.destination.well.store(true, SeqCst);
    operator.store([status("1", "a", "sent")]).await;
    until(async || operator.destination.taken.lock().unwrap().len() == 1).await;
    ask(&operator, "replays", json!({"handler": "crm"})).await;
    until(async || operator.destination.taken.lock().unwrap().len() == 2).await;
    await_no_series_of_a_replay(&operator).await;
    assert_fire(&scraped(&operator).await, &[]);

    operator.destination.well.store(false, SeqCst);
    let cancelled = ask(&operator, "replays", json!({"handler": "crm"})).await["id"].clone();
    let other = [("handler", "crm"), ("lane", "replay-other")];
    until(async || {
        let page = scraped(&operator).await;
        page.has_series("bikhook_lane_waiting", &other) && page.value("bikhook_lane_waiting", &other) > 0.0
    })
    .await;
    assert_fire(&scraped(&operator).await, &["BikhookHandlerWaiting"]);
    ask(&operator, &format!("replays/{cancelled}/cancel"), json!({})).await;
    await_no_series_of_a_replay(&operator).await;
    assert_fire(&scraped(&operator).await, &[]);
}

#[tokio::test]
async fn a_renamed_handler_leaves_no_series_of_its_old_name() {
    let (place, metrics) = (Place::new(), Metrics::new());
    let journal = SqliteJournal::open(place.settings.clone(), Arc::clone(&metrics)).unwrap();
    let journal: Arc<dyn Journal> = Arc::new(journal);
    journal.enrol(vec![from_beginning("old")]).await.unwrap();
    journal.append(batch([status("1", "a", "sent")])).await.unwrap();
    let dead = NewDead { at: Timestamp::default(), ..refused(&*journal, 1, "422: made by a test").await };
    let ends = Ends { dead: vec![dead], ..Ends::default() };
    journal.settle(lane("old", Class::Other), ends).await.unwrap();
    journal.flush().await.unwrap();
    let operator = Operator::over(Guard::default(), place, journal, metrics).await;
    let dead = async |handler: &str| {
        let page = scraped(&operator).await;
        let labels = [("handler", handler)];
        page.has_series("bikhook_dead_letters", &labels).then(|| page.value("bikhook_dead_letters", &labels))
    };
    assert_eq!(dead("old").await, Some(1.0));
    ask(&operator, "handlers/old/rename", json!({"to": "new"})).await;
    assert_eq!((dead("old").await, dead("new").await), (None, Some(1.0)));
    ask(&operator, "dead/drop", json!({"ids": [1]})).await;
    assert_eq!((dead("old").await, dead("new").await), (None, Some(0.0)));
}
