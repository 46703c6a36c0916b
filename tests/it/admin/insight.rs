//! Insight's routes of the API.

use super::*;

/// A status of a message to a phone, by an owner, with a text and a reason.
fn told(message: &str, status: &str, owner: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { Value::Null } else { json!(reason) };
    json!({
        "eventName": "message-status-update",
        "eventInfo": {
            "messageId": message, "createdAt": "2026-01-01T00:00:00.000Z", "channelId": "whatsapp", "status": status,
            "message": format!("text of {message}"), "owner": owner, "ownerId": "57", "assetValue": "+91 90909-00001",
            "failureReason": reason,
        },
        "customerDetails": {"firstName": "A", "lastName": "B", "customerId": 7},
        "id": format!("{message}-{status}"),
    })
    .to_string()
}

/// Two messages of a campaign, one of an agent that failed, and one from the customer.
async fn a_few(operator: &Operator) {
    let incoming = json!({
        "eventName": "incoming-message",
        "eventInfo": {
            "messageId": "from-7", "channelId": "whatsapp", "message": "is it there?", "assetValue": "919090900001",
        },
        "id": "i",
    });
    operator
        .store([
            told("1", "sent", "CAMPAIGN", ""),
            told("1", "read", "CAMPAIGN", ""),
            told("2", "sent", "CAMPAIGN", ""),
            told("3", "failed", "AGENT", "Rate limit hit"),
            incoming.to_string(),
        ])
        .await;
    operator.learnt().await;
}

pub(super) fn column<'a>(rows: &'a Value, name: &str) -> Vec<&'a Value> {
    rows.as_array().unwrap().iter().map(|row| &row[name]).collect()
}

#[tokio::test]
async fn messages_are_found_listed_by_page_and_shown_with_their_statuses() {
    let operator = Operator::new().await;
    a_few(&operator).await;
    let ids = async |query: &str| -> Vec<String> {
        let page = get(&operator, &format!("/api/v1/messages?{query}")).await.json();
        column(&page["messages"], "messageId").iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, ["from-7", "3", "2", "1"]);
    assert_eq!(ids("state=failed").await, ["3"]);
    assert_eq!(ids("state=Read").await, ["1"]);
    assert_eq!(ids("reason=rate%20LIMIT").await, ["3"]);
    assert_eq!(ids("incoming=1").await, ["from-7"]);
    assert_eq!(ids("incoming=0&phone=919090900001").await, ["3", "2", "1"]);
    assert_eq!(ids("customer=7&until=2001-01-01").await, [""; 0]);
    assert_eq!(ids("message=2&since=2001-01-01").await, ["2"]);

    let page = get(&operator, "/api/v1/messages?limit=3").await.json();
    let next = page["next"].as_i64().unwrap();
    assert_eq!(ids(&format!("limit=3&before={next}")).await, ["1"]);
    let failed = &page["messages"][1];
    assert_eq!(
        (&failed["state"], &failed["failure"], &failed["reason"], &failed["category"]),
        (&json!("failed"), &json!("rate_limit"), &json!("Rate limit hit"), &json!("crm"))
    );

    let one = get(&operator, "/api/v1/messages/1").await.json();
    assert_eq!(one["messages"][0]["state"], "read");
    assert_eq!(column(&one["messages"][0]["sightings"], "status"), ["sent", "read"]);
    get(&operator, "/api/v1/messages/4").await.is_problem(404, "message \"4\"");
}

#[tokio::test]
async fn customers_are_listed_with_who_waits_and_what_was_said() {
    let operator = Operator::new().await;
    a_few(&operator).await;
    let contacts = get(&operator, "/api/v1/contacts?address=%2B91%209090900001").await.json();
    for query in ["address=9090900001", "address=900001", "name=a%20b"] {
        assert_eq!(get(&operator, &format!("/api/v1/contacts?{query}")).await.json(), contacts, "{query}");
    }
    let contact = &contacts["contacts"][0];
    assert_eq!((&contact["name"], &contact["address"]), (&json!("A B"), &json!("919090900001")));
    assert_eq!(get(&operator, "/api/v1/contacts").await.json(), contacts);
    let waiting = json!({"contacts": [contact], "waiting": 1, "missed": 0});
    assert_eq!(get(&operator, "/api/v1/contacts/waiting").await.json(), waiting);
    assert_eq!(get(&operator, "/api/v1/contacts/waiting?missed=0").await.json(), waiting);
    for query in ["since=2999-01-01", "missed=1"] {
        let none = get(&operator, &format!("/api/v1/contacts/waiting?{query}")).await.json();
        assert_eq!(none, json!({"contacts": [], "waiting": 1, "missed": 0}), "{query}");
    }

    let path = format!("/api/v1/contacts/{}", contact["id"].as_str().unwrap());
    let said = get(&operator, &format!("{path}?limit=2")).await.json();
    assert_eq!(said["contact"], *contact);
    assert_eq!(column(&said["entries"], "kind"), ["message", "message"]);
    assert_eq!(column(&said["entries"], "text"), ["is it there?", "text of 3"]);
    let rest = get(&operator, &format!("{path}?before={}", said["next"])).await.json();
    assert_eq!(column(&rest["entries"], "text"), ["text of 2", "text of 1"]);
    assert_eq!(rest["next"], Value::Null);
    let nobody = "0123456789abcdef0123456789abcdef";
    get(&operator, &format!("/api/v1/contacts/{nobody}")).await.is_problem(404, &format!("contact {nobody}"));
    let told = "contactId: is not an id of 32 hexadecimal digits";
    for old in ["1", "anna"] {
        get(&operator, &format!("/api/v1/contacts/{old}")).await.is_problem(400, told);
    }
}

#[tokio::test]
async fn figures_are_grouped_and_filtered_as_requested() {
    let operator = Operator::new().await;
    a_few(&operator).await;
    let funnel = get(&operator, "/api/v1/funnel?by=category,day").await.json();
    assert_eq!(funnel["by"], json!(["category", "day"]));
    let rows = &funnel["rows"];
    let groups: Vec<_> = column(rows, "group").iter().map(|group| group[0].clone()).collect();
    assert_eq!(groups, [Value::Null, json!("broadcast"), json!("crm")]);
    assert_eq!(
        (&rows[1]["messages"], &rows[1]["read"], &rows[2]["failed"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let total = get(&operator, "/api/v1/funnel").await.json();
    assert_eq!((&total["rows"][0]["incoming"], &total["rows"][0]["messages"]), (&json!(1), &json!(3)));
    assert_eq!(get(&operator, "/api/v1/funnel?by=").await.json()["rows"], total["rows"]);
    let now = bikhook::clock::now();
    let until_now = get(&operator, &format!("/api/v1/funnel?until={now}&source=bik")).await.json();
    assert_eq!(until_now["rows"], total["rows"], "the hour that has begun counts");
    assert_eq!(until_now["until"], json!(now));
    let before = get(&operator, "/api/v1/funnel?until=2001-01-01").await.json();
    assert_eq!((&before["since"], &before["rows"]), (&json!("2000-12-25T00:00:00.000Z"), &json!([])));
    let crm = get(&operator, "/api/v1/funnel?category=crm&ownerId=57&channel=whatsapp").await.json();
    assert_eq!(crm["rows"][0]["messages"], 1);
    assert_eq!(get(&operator, "/api/v1/funnel?owner=nobody").await.json()["rows"], json!([]));

    let failures = get(&operator, "/api/v1/failures?by=ownerId&tests=1").await.json();
    let row = &failures["rows"][0];
    assert_eq!(
        (&row["group"], &row["class"], &row["messages"]),
        (&json!(["57"]), &json!("rate_limit"), &json!(1))
    );

    let arrivals = get(&operator, "/api/v1/arrivals").await.json();
    assert_eq!(column(&arrivals["rows"], "events"), [4, 1]);
    let days = get(&operator, "/api/v1/arrivals?by=day&since=2026-01-01").await.json();
    assert!(days["rows"][0]["at"].as_str().unwrap().ends_with("T00:00:00.000Z"), "{days}");
    let sources = get(&operator, "/api/v1/sources").await.json();
    let source = &sources["sources"][0];
    assert_eq!(
        (&source["source"], &source["events"], &source["lastSeq"]),
        (&json!("bik"), &json!(5), &json!(5))
    );
    assert!(source["silentSeconds"].as_i64().unwrap() < 60, "{source}");
}

#[tokio::test]
async fn insight_shows_its_progress_and_rebuilds() {
    let operator = Operator::new().await;
    a_few(&operator).await;
    let whole = json!({"enabled": true, "cursor": 5, "tip": 5, "lag": 0, "rebuildingTo": null});
    assert_eq!(get(&operator, "/api/v1/insight").await.json(), whole);
    let rebuilt = post(&operator, "/api/v1/insight/rebuild", json!({})).await.json();
    assert_eq!((&rebuilt["enabled"], &rebuilt["tip"]), (&json!(true), &json!(5)));
    until(async || get(&operator, "/api/v1/insight").await.json() == whole).await;
    assert_eq!(get(&operator, "/api/v1/messages").await.json()["messages"].as_array().unwrap().len(), 4);
    post(&operator, "/api/v1/insight/rebuild", json!({"from": 1})).await.is_problem(400, "from");
}

#[tokio::test]
async fn an_invalid_query_gets_an_error_that_names_the_problem() {
    let operator = Operator::new().await;
    for (path, told) in [
        ("messages?since=yesterday", "since: \"yesterday\" is not a time"),
        (
            "messages?state=sendt",
            "state: unknown value \"sendt\"; did you mean sent? (valid values: accepted, sent,",
        ),
        ("messages?limit=1001", "limit: must be from 1 to 1000"),
        ("messages?incoming=yes", "incoming: must be 0 or 1"),
        ("messages?before=x", "before"),
        ("messages?offset=3", "offset: is not a parameter of this path"),
        ("contacts?before=x", "before"),
        ("contacts/waiting?since=x", "since"),
        ("contacts/waiting?missed=yes", "missed: must be 0 or 1"),
        ("contacts/1?limit=0", "limit"),
        ("funnel?by=weekday", "by: unknown value \"weekday\""),
        ("funnel?by=dya", "did you mean day?"),
        ("funnel?by=day,hour,day", "by: day is given more than once"),
        ("funnel?by=day,", "by: unknown value \"\""),
        ("funnel?hour=3", "hour: is not a parameter"),
        ("funnel?tests=all", "tests: must be 0 or 1"),
        ("failures?until=x", "until"),
        ("arrivals?by=week", "by: unknown value \"week\" (valid values: hour, day)"),
        ("sources?since=x", "since"),
        ("insight?x=1", "x"),
    ] {
        get(&operator, &format!("/api/v1/{path}")).await.is_problem(400, told);
    }
}

#[tokio::test]
async fn routes_of_insight_are_404_if_it_is_disabled() {
    let operator = Operator::guarded(Guard { without_insight: true, ..Guard::default() }).await;
    for path in [
        "messages",
        "messages/1",
        "contacts",
        "contacts/1",
        "contacts/waiting",
        "funnel",
        "failures",
        "arrivals",
        "sources",
        "insight",
    ] {
        get(&operator, &format!("/api/v1/{path}")).await.is_problem(404, "insight is disabled");
    }
    post(&operator, "/api/v1/insight/rebuild", json!({})).await.is_problem(404, "insight is disabled");
}
