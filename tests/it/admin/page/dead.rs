//! `/dead`: the list of dead letters with their reasons, and the forms that retry and drop them.

use std::sync::atomic::Ordering::SeqCst;

use bikhook::journal::DeadQuery;

use super::*;

/// The ids of all dead letters, newest first.
async fn dead(operator: &Operator) -> Vec<i64> {
    let query = DeadQuery { limit: 1_000, ..DeadQuery::default() };
    operator.journal.dead_letters(query).await.unwrap().iter().map(|dead| dead.id).collect()
}

/// An operator with this many dead letters of `crm`, whose lanes are paused.
async fn with_dead(count: u64) -> Operator {
    let operator = Operator::new().await;
    operator.journal.pause("crm".into(), "for a test".to_owned()).await.unwrap();
    operator.store((1..=count).map(|at| status(&format!("s{at}"), &format!("m{at}"), "failed"))).await;
    for seq in 1..=count {
        operator.bury(seq).await;
    }
    operator
}

/// One more, of an event of its own.
async fn another_dies(operator: &Operator, error: &str) {
    let n = *operator.journal.tip().borrow() + 1;
    operator.store([status(&format!("s{n}"), &format!("m{n}"), "failed")]).await;
    operator.bury_saying(n, error).await;
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_and_narrowed_down() {
    let operator = with_dead(60).await;
    another_dies(&operator, "timed out after 15 s").await;
    let mut browser = Browser::new(&operator);
    let first = browser.page("/dead").await;
    let rows = |page: &str| page.matches("<tr><th><a href=\"/dead/").count();
    assert!(first.contains("61 dead letters") && rows(&first) == 50, "{first}");
    let next = first.split('"').find(|text| text.contains("before=")).expect("a next page");
    let second = browser.page(next).await;
    assert_eq!(rows(&second), 11);
    assert!(!second.contains(">Older<"), "{second}");
    for (path, found) in [
        ("/dead?error=TIMED", 1),
        ("/dead?cause=expired", 0),
        ("/dead?handler=other", 0),
        ("/dead?message=m3&handler=crm&cause=refused&event=message-*&status=failed", 1),
        ("/dead?since=2100-01-01", 0),
    ] {
        assert_eq!(rows(&browser.page(path).await), found, "{path}");
    }
    for wrong in ["/dead?cause=x", "/dead?before=x", "/dead?since=soon", "/dead/x"] {
        let response = browser.send(browser.client.get(operator.url(wrong))).await;
        assert_eq!(response.status(), 400, "{wrong}");
    }
    assert!(Browser::new(&Operator::new().await).page("/dead").await.contains("None: every event"));
}

#[tokio::test]
async fn quoted_text_in_an_error_is_masked_and_never_markup() {
    let operator = with_dead(1).await;
    for hostile in HOSTILE {
        another_dies(&operator, &format!("422 {hostile}: {hostile} Asharani")).await;
    }
    let mut browser = Browser::new(&operator);
    let one = format!("/dead/{}", dead(&operator).await.last().unwrap());
    for path in ["/dead", &one] {
        let page = browser.page(path).await;
        assert!(page.contains("422: ••••") && !page.contains("910000000000"), "{path}: {page}");
        assert!(!page.contains("Asharani"), "{path}");
    }
    browser.reveal().await;
    assert!(browser.page(&one).await.contains("422: phone +910000000000 is unknown"));
    let ids = dead(&operator).await;
    let pages = ids.iter().flat_map(|id| [format!("/dead/{id}"), format!("/dead/{id}/drop")]);
    let asked = HOSTILE.iter().flat_map(|text| {
        let text = url_encoded(text);
        ["handler", "error", "event", "phone"].map(|name| format!("/dead?{name}={text}"))
    });
    for path in pages.chain(asked).chain(["/dead".to_owned()]) {
        let page = browser.page(&path).await;
        for raw in ["<script>alert", "<img", "\" onmouseover=\"", "'><"] {
            assert!(!page.contains(raw), "{path} has {raw}:\n{page}");
        }
    }
    assert!(browser.page("/dead").await.contains("Asharani"), "revealed");
}

#[tokio::test]
async fn a_dead_letter_tells_its_tries_and_is_retried_by_its_form() {
    let operator = with_dead(1).await;
    let mut browser = Browser::new(&operator);
    let id = dead(&operator).await[0];
    let one = format!("/dead/{id}");
    let page = browser.page(&one).await;
    for text in
        ["attempt 1", "href=\"/events/1\"", "href=\"/handlers/crm\"", "refused it permanently", "lane other"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    let retry = format!("{one}/retry");
    browser.is_fenced(&retry).await;
    let (to, said) = browser.done(&retry, &[]).await;
    assert_eq!(to, "/dead");
    assert!(said.contains(&format!("Dead letter {id} is being retried")), "{said}");
    assert!(browser.page(&one).await.contains("being retried"));
    operator.destination.well.store(true, SeqCst);
    operator.journal.resume("crm".into()).await.unwrap();
    until(async || dead(&operator).await.is_empty()).await;
    // The lane delivers the event as well, because the dead letter was made by the test.
    assert!(operator.destination.taken.lock().unwrap().contains(&1));
    let gone = browser.post(&retry, &[]).await;
    assert_eq!(gone.status(), 404);
    assert!(gone.text().await.unwrap().contains("it never existed, or it was delivered"));
}

#[tokio::test]
async fn a_dead_letter_is_dropped_only_after_a_question() {
    let operator = with_dead(2).await;
    let mut browser = Browser::new(&operator);
    let ids = dead(&operator).await;
    let drop = format!("/dead/{}/drop", ids[0]);
    let question = browser.page(&drop).await;
    assert!(question.contains("cannot be undone") && question.contains("Keep it"), "{question}");
    browser.is_fenced(&drop).await;
    assert_eq!(dead(&operator).await, ids);
    let done = browser.done(&drop, &[]).await;
    assert_eq!(done, ("/dead".to_owned(), format!("Dead letter {} was dropped.", ids[0])));
    assert_eq!(dead(&operator).await, [ids[1]]);
    assert_eq!(browser.post(&drop, &[]).await.status(), 404);
}

#[tokio::test]
async fn all_that_match_are_counted_first_and_then_retried() {
    let operator = with_dead(3).await;
    another_dies(&operator, "timed out").await;
    let mut browser = Browser::new(&operator);
    for path in ["/dead/count", "/dead/retry"] {
        browser.is_fenced(path).await;
        let again = browser.send(browser.client.get(operator.url(path))).await;
        assert_eq!(again.headers()[LOCATION], "/dead");
    }
    let retrying = async || {
        let query = DeadQuery { limit: 100, ..DeadQuery::default() };
        operator.journal.dead_letters(query).await.unwrap().iter().filter(|dead| dead.retrying).count()
    };
    let asked = [("handler", "crm"), ("error", "422")];
    let counted = browser.post("/dead/count", &asked).await.text().await.unwrap();
    assert!(counted.contains("3 dead letters of crm to be retried"), "{counted}");
    assert_eq!(retrying().await, 0, "nothing is retried by counting");
    // Dead letters added after the count are not changed.
    another_dies(&operator, "422").await;
    let fields = fields_of(&counted, "/dead/retry");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (to, said) = browser.done("/dead/retry", &fields).await;
    assert_eq!(to, "/dead?handler=crm&error=422");
    assert!(said.starts_with("3 dead letters are being retried"), "{said}");
    assert_eq!(retrying().await, 3);
    let none = browser.post("/dead/count", &[("error", "nothing says this")]).await.text().await.unwrap();
    assert!(none.contains("No dead letter") && !none.contains("action=\"/dead/retry\""), "{none}");
    assert_eq!(browser.post("/dead/count", &[("handler", "crn")]).await.status(), 404);
    // The same from the form of a replay.
    let of_dead = browser.post("/handlers/crm/replay", &[("of", "dead")]).await.text().await.unwrap();
    assert!(of_dead.contains("5 dead letters of crm to be retried"), "{of_dead}");
    assert!(of_dead.contains("/handlers/crm?of=dead"), "{of_dead}");
}
