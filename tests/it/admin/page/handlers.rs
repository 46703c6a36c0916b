//! `/handlers`: the health of each handler, and the forms that change it.

use std::sync::atomic::Ordering::SeqCst;

use super::*;

fn is_paused(operator: &Operator) -> bool {
    operator.journal.paused().borrow().contains_key("crm")
}

#[tokio::test]
async fn handlers_show_the_health_of_each_lane() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let page = browser.page("/handlers").await;
    for text in ["href=\"/handlers/crm\"", "test · there", "messages from customers", "running"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    operator.store([incoming("i1", "m1")]).await;
    until(async || Browser::new(&operator).page("/handlers").await.contains("retries in")).await;
    let page = browser.page("/handlers").await;
    assert!(page.contains(">unwell<") && page.contains("data-label=\"Last failure\">unwell"), "{page}");
    operator.destination.well.store(true, SeqCst);
    until(async || !Browser::new(&operator).page("/handlers/crm").await.contains(">unwell<")).await;
    let page = browser.page("/handlers/crm").await;
    for text in ["data-label=\"Last success\"><time", "drops /customerDetails", "every event", "None."] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn a_handler_is_paused_and_resumed_by_forms_and_the_page_says_so_once() {
    let operator =
        Operator::guarded(Guard { credentials: Some(("ops", "secret")), ..Guard::default() }).await;
    let mut browser = Browser::of(&operator, "ops", "secret");
    browser.is_fenced("/handlers/crm/pause").await;
    assert!(!is_paused(&operator));
    let done = browser.done("/handlers/crm/pause", &[("reason", HOSTILE[0])]).await;
    let says = "crm is paused: it starts no delivery until it is resumed.";
    assert_eq!(done, ("/handlers/crm".to_owned(), says.to_owned()));
    let reason = operator.journal.paused().borrow()["crm"].reason.clone();
    assert_eq!(reason, format!("{} (by ops)", HOSTILE[0]));
    for path in ["/handlers", "/handlers/crm"] {
        let page = browser.page(path).await;
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62; (by ops)"), "{page}");
    }
    let (_, again) = browser.done("/handlers/crm/pause", &[("reason", "again")]).await;
    assert!(again.contains("was already paused"), "{again}");
    browser.is_fenced("/handlers/crm/resume").await;
    assert!(is_paused(&operator));
    assert_eq!(
        browser.done("/handlers/crm/resume", &[]).await.1,
        "crm is resumed and continues at its cursors."
    );
    assert!(!is_paused(&operator));
    assert_eq!(browser.done("/handlers/crm/resume", &[]).await.1, "crm was not paused.");
    let long = browser.post("/handlers/crm/pause", &[("reason", &"x".repeat(201))]).await;
    assert_eq!(long.status(), 400);
    assert!(!is_paused(&operator));
}

#[tokio::test]
async fn a_waiting_handler_has_buttons_to_retry_and_to_believe_refusals() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let (retry, believe) = ("/handlers/crm/retry", "/handlers/crm/believe");
    let offers = |page: &str, path: &str| page.contains(&format!("action=\"{path}\""));
    let page = browser.page("/handlers/crm").await;
    assert!(!offers(&page, retry) && !offers(&page, believe), "{page}");
    operator.destination.refuses.store(true, SeqCst);
    operator.store((0..3).map(|n| status(&format!("id-{n}"), &format!("m-{n}"), "sent"))).await;
    until(async || offers(&Browser::new(&operator).page("/handlers/crm").await, believe)).await;
    let page = browser.page("/handlers/crm").await;
    assert!(offers(&page, retry) && page.contains("Believe status 422"), "{page}");
    browser.is_fenced(retry).await;
    browser.is_fenced(believe).await;
    let tries = ("/handlers/crm".to_owned(), "crm retries now.".to_owned());
    assert_eq!(browser.done(retry, &[]).await, tries);
    let (to, notice) = browser.done(believe, &[]).await;
    let says = "crm: events up to seq 3 that are refused (status 422) become dead letters.";
    assert_eq!((&*to, &*notice), ("/handlers/crm", says));
    until(async || Browser::new(&operator).page("/handlers/crm").await.contains("Retry all 3")).await;
    let (_, notice) = browser.done(believe, &[]).await;
    assert_eq!(notice, "crm has no refused events that wait for a decision.");
}

#[tokio::test]
async fn a_handler_that_there_is_not_is_named_with_the_nearest_one() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    for path in ["/handlers/crn", "/handlers/%3Cscript%3E"] {
        let response = browser.send(browser.client.get(operator.url(path))).await;
        assert_eq!(response.status(), 404);
        let page = response.text().await.unwrap();
        assert!(page.contains("configured: crm") && !page.contains("<script>"), "{page}");
    }
    for path in ["pause", "resume", "replay", "retry", "believe"].map(|what| format!("/handlers/crn/{what}"))
    {
        let response = browser.post(&path, &[]).await;
        assert_eq!(response.status(), 404, "{path}");
        assert!(response.text().await.unwrap().contains("did you mean crm?"));
    }
}
