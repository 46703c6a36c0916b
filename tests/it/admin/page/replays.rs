//! Replays by forms: counted first, then started; paused, resumed and cancelled.

use std::sync::atomic::Ordering::SeqCst;

use super::*;

fn taken(operator: &Operator) -> Vec<u64> {
    operator.destination.taken.lock().unwrap().clone()
}

/// Starts the replay that a count page offers.
async fn start(browser: &mut Browser<'_>, counted: &str) -> (String, String) {
    let fields = fields_of(counted, "/replays");
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.done("/replays", &fields).await
}

#[tokio::test]
async fn a_replay_is_counted_first_and_what_was_counted_is_what_is_started() {
    let operator = Operator::new().await;
    operator.destination.well.store(true, SeqCst);
    operator.store([status("1", "a", "sent"), status("2", "b", "failed"), status("3", "c", "failed")]).await;
    until(async || taken(&operator).len() == 3).await;
    let mut browser = Browser::new(&operator);
    assert!(browser.page("/replays").await.contains("None yet"));
    browser.is_fenced("/handlers/crm/replay").await;
    let asked = [("event", "message-*"), ("status", "failed"), ("rate", "500")];
    let counted = browser.post("/handlers/crm/replay", &asked).await.text().await.unwrap();
    for text in [
        "2 events would be delivered",
        "event 2</a>, received <time",
        "event 3</a>",
        "at most 500 per second",
    ] {
        assert!(counted.contains(text), "{text}: {counted}");
    }
    assert_eq!(taken(&operator).len(), 3, "nothing is delivered by counting");
    assert!(operator.journal.replays().borrow().is_empty());
    let back = "/handlers/crm?event=message-%2A&#38;status=failed&#38;rate=500#replay";
    assert!(counted.contains(back), "{counted}");
    let form = browser.page("/handlers/crm?event=message-%2A&status=failed&rate=500").await;
    assert!(form.contains("value=\"message-*\"") && form.contains("value=\"500\""), "{form}");

    operator.store([status("4", "d", "failed")]).await;
    until(async || taken(&operator).len() == 4).await;
    browser.is_fenced("/replays").await;
    let done = start(&mut browser, &counted).await;
    assert_eq!(done, ("/replays".to_owned(), "Replay 1 to crm was started.".to_owned()));
    until(async || Browser::new(&operator).page("/replays").await.contains(">done<")).await;
    let again = start(&mut browser, &counted).await;
    let says = "Replay 1 to crm was already started: no second replay was started.";
    assert_eq!(again, ("/replays".to_owned(), says.to_owned()));
    assert_eq!(operator.journal.replays().borrow().len(), 1);
    assert_eq!(browser.post("/replays", &[("handler", "crm")]).await.status(), 400, "not of a counted page");
    assert_eq!(taken(&operator)[4..], [2, 3], "what came after it was counted is not in it");
    let page = browser.page("/replays").await;
    assert!(page.contains("statuses failed") && page.contains("100 %"), "{page}");
    assert!(browser.page("/handlers/crm").await.contains("<h2 id=\"replays\">Replays</h2>"));
}

#[tokio::test]
async fn a_dry_run_that_finds_nothing_offers_nothing_and_leads_back() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    for (hostile, event) in HOSTILE.iter().map(|hostile| (hostile, "message-*")).chain([(&"", "")]) {
        let asked = [("event", event), ("status", *hostile), ("message", hostile), ("phone", hostile)];
        let counted = browser.post("/handlers/crm/replay", &asked).await.text().await.unwrap();
        assert!(
            counted.contains("0 events would be delivered") && counted.contains("Change the selection"),
            "{counted}"
        );
        assert!(
            !counted.contains("name=\"token\" value=\"\"") && !counted.contains("Deliver 0"),
            "{counted}"
        );
        for raw in ["<script>alert", "<img", "\" onmouseover=\"", "'><"] {
            assert!(!counted.contains(raw), "{raw}: {counted}");
        }
    }
    for (name, wrong) in [("since", "soon"), ("rate", "0"), ("rate", "fast"), ("upto", "x"), ("event", "[")] {
        let response = browser.post("/handlers/crm/replay", &[(name, wrong)]).await;
        assert_eq!(response.status(), 400, "{name} {wrong}");
    }
    // A reload of such a page redirects to the form.
    let again = browser.send(browser.client.get(operator.url("/handlers/crm/replay"))).await;
    assert_eq!(again.headers()[LOCATION], "/handlers/crm#replay");
}

#[tokio::test]
async fn the_count_gives_the_reason_for_which_the_replay_would_wait() {
    let operator = Operator::new().await;
    operator.destination.well.store(true, SeqCst);
    operator.store([status("1", "a", "sent")]).await;
    until(async || taken(&operator).len() == 1).await;
    let mut browser = Browser::new(&operator);
    let counted = browser.post("/handlers/crm/replay", &[]).await.text().await.unwrap();
    assert!(counted.contains("1 event would") && !counted.contains("It would wait"), "{counted}");
    browser.done("/handlers/crm/pause", &[]).await;
    until(async || Browser::new(&operator).page("/handlers").await.contains(">paused<")).await;
    let counted = browser.post("/handlers/crm/replay", &[]).await.text().await.unwrap();
    assert!(counted.contains("It would wait: handler crm is paused."), "{counted}");
}

#[tokio::test]
async fn the_selection_is_shown_as_it_was_entered() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let asked = [("status", "SENT"), ("since", "2026-01-31T09:30")];
    let counted = browser.post("/handlers/crm/replay", &asked).await.text().await.unwrap();
    assert!(counted.contains("<dd>SENT</dd>") && counted.contains("<dd>2026-01-31 09:30</dd>"), "{counted}");
}

#[tokio::test]
async fn a_replay_is_paused_resumed_and_after_a_question_cancelled() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent")]).await;
    let mut browser = Browser::new(&operator);
    for _ in 0..2 {
        let counted = browser.post("/handlers/crm/replay", &[]).await.text().await.unwrap();
        start(&mut browser, &counted).await;
    }
    let page = browser.page("/replays").await;
    assert!(page.contains("goes first") && page.contains(">waits<"), "{page}");
    let state = |id: i64| operator.journal.replays().borrow()[&id].state.as_str();
    for path in ["/replays/1/pause", "/replays/1/resume", "/replays/1/cancel"] {
        browser.is_fenced(path).await;
    }
    assert_eq!(state(1), "running");
    let back = [("back", "/handlers/crm")];
    let (to, said) = browser.done("/replays/1/pause", &back).await;
    assert_eq!((to.as_str(), said.as_str(), state(1)), ("/handlers/crm", "Replay 1 is paused.", "paused"));
    assert_eq!(browser.done("/replays/1/resume", &[("back", "//evil.example")]).await.0, "/");
    assert_eq!(state(1), "running");
    let question = browser.page("/replays/1/cancel").await;
    assert!(
        question.contains("Cancel replay 1 to crm?") && question.contains("Back to the replays"),
        "{question}"
    );
    assert_eq!(state(1), "running");
    assert_eq!(
        browser.done("/replays/1/cancel", &[]).await,
        ("/replays".into(), "Replay 1 is cancelled.".into())
    );
    assert_eq!(state(1), "cancelled");
    let (_, said) = browser.done("/replays/1/resume", &back).await;
    assert!(said.contains("Nothing was changed") && said.contains("cancelled"), "{said}");
    assert_eq!(browser.post("/replays/99/pause", &[]).await.status(), 404);
    assert_eq!(browser.post("/replays/x/pause", &[]).await.status(), 400);
}
