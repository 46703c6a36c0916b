//! `bikhook message`, `stats` and `rebuild`.

use super::*;

/// A status of a message by an owner.
fn told(message: &str, word: &str, owner: &str, reason: &str) -> String {
    let event = status(&format!("{message}-{word}-{}", reason.len()), message, word);
    let event = event.replace("CAMPAIGN", owner);
    if reason.is_empty() { event } else { event.replace("null", &format!("{reason:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_in_a_form_for_people() {
    let operator = Operator::new().await;
    let undeliverable = "Message Undeliverable.";
    operator
        .store([
            told("m-1", "delivered", "CAMPAIGN", ""),
            told("m-1", "sent", "CAMPAIGN", ""),
            told("m-2", "failed", "AGENT", undeliverable),
            incoming("i-3", "m/3"),
        ])
        .await;
    operator.learnt().await;

    let text = ask(&operator, &["message", "m-1"]).await.ok();
    for line in [
        "message   m-1\n",
        "state     delivered\n",
        "to        A B, 910000000000\n",
        "sent by   broadcast (CAMPAIGN) 57\n",
        "source    bik, whatsapp\n",
        "created   2024-08-01T07:24:23.425Z\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let rows: Vec<_> = text.lines().skip_while(|line| !line.contains("RECEIVED")).skip(1).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[0].contains("delivered") && rows[0].contains("late: "), "{text}");
    assert!(rows[1].contains("sent") && rows[1].contains("out of order"), "{text}");

    assert!(text.contains("text      Hello\n"), "{text}");

    let text = ask(&operator, &["message", "m-2"]).await.ok();
    assert!(text.contains("state     failed: undeliverable\nreason    Message Undeliverable.\n"), "{text}");
    let text = ask(&operator, &["message", "m/3"]).await.ok();
    assert!(text.contains("state     received\ntext      Hii sir\nfrom      A B"), "{text}");
    let object = ask(&operator, &["message", "m-1", "--json"]).await.objects();
    assert_eq!(
        (&object[0]["state"], &object[0]["sightings"][1]["status"]),
        (&json!("delivered"), &json!("sent"))
    );
    ask(&operator, &["message", "m-9"]).await.failed("there is no message \"m-9\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_shows_its_choice_its_edit_or_that_it_was_deleted() {
    let operator = Operator::new().await;
    for name in
        ["f07-edited-message", "f08-deleted-message", "payload-02-list-reply", "payload-10-document-many"]
    {
        let body = std::fs::read(format!("fixtures/cases/{name}.json")).unwrap();
        let drafts = bikhook::event::decode(&"bik".into(), &body).unwrap().drafts;
        operator.store(drafts.iter().map(|draft| draft.element.raw())).await;
    }
    operator.learnt().await;
    for (message, line) in [
        ("wamid.e1", "text      please send to Mumbai (edited)\n"),
        ("wamid.d1", "state     received (deleted)\ntext      deleted message\n"),
        ("wamid.p2", "text      Priority Mail Express\n"),
        ("wamid.p10", "text      2 documents: Réçu №1 .pdf\n"),
    ] {
        let text = ask(&operator, &["message", message]).await.ok();
        assert!(text.contains(line) && !text.contains("4111"), "{line} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delay_of_a_message_is_the_one_in_the_figures() {
    let operator = Operator::new().await;
    let made = bikhook::clock::now().plus_ms(-20 * 60_000).to_string();
    // The last status repeats another time, which is neither the delay nor what "late" says.
    let later = bikhook::clock::now().plus_ms(-24 * 3_600_000).to_string();
    let at =
        |word: &str, time: &str| told("m-1", word, "CAMPAIGN", "").replace("2024-08-01T07:24:23.425Z", time);
    operator.store([at("sent", &made), at("delivered", &later)]).await;
    operator.learnt().await;
    let text = ask(&operator, &["message", "m-1"]).await.ok();
    let delay = text.lines().find_map(|line| line.strip_prefix("delay ")).expect(&text).trim();
    assert!(delay == "20 min" || delay == "21 min", "{text}");
    assert!(text.contains(&format!("late: {delay} after BIK created it")), "{text}");
    assert_eq!(text.matches("late: ").count(), 1, "{text}");
    let stats = ask(&operator, &["stats"]).await.ok();
    let source = stats.lines().find(|line| line.trim_start().starts_with("bik ")).expect(&stats);
    assert!(
        source.trim_end().ends_with("20 min, 20 min") || source.trim_end().ends_with("21 min, 21 min"),
        "{stats}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_tables_for_people_and_an_object_for_programs() {
    let operator = Operator::new().await;
    let mut events = vec![incoming("i-1", "in-1"), told("t-1", "sent", "TEST_CAMPAIGN", "")];
    for n in 0..40 {
        let message = format!("c-{n}");
        events.push(told(&message, "sent", "CAMPAIGN", ""));
        events.extend((n < 30).then(|| told(&message, "delivered", "CAMPAIGN", "")));
        events.extend((n < 10).then(|| told(&message, "read", "CAMPAIGN", "")));
        events.extend((n >= 38).then(|| told(&message, "failed", "CAMPAIGN", "Message Undeliverable.")));
    }
    events.push(told("a-1", "sent", "AGENT", ""));
    operator.store(events).await;
    operator.learnt().await;

    let text = ask(&operator, &["stats"]).await.ok();
    let line = |begins: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(begins));
        found
            .unwrap_or_else(|| panic!("no {begins} in\n{text}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(line("CATEGORY").starts_with("CATEGORY MESSAGES SENT DELIVERED READ FAILED"), "{text}");
    assert!(line("broadcast").starts_with("broadcast 40 40 100.0% 30 75.0% 10 25.0% 2 5.0% "), "{text}");
    assert!(line("crm").starts_with("crm 1 1 100.0% 0 0 0 "), "{text}");
    assert!(line("all").starts_with("all 41 41 100.0% 30 73.2% 10 24.4% 2 4.9% - - 1"), "{text}");
    assert!(text.contains("undeliverable") && text.contains("Causes of failures"), "{text}");
    assert!(line("bik").starts_with("bik 20"), "{text}");
    for part in ["\nSources\n", "\nLag of handlers and insight\n", "insight", "crm"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("910000000000"), "nothing personal: {text}");

    let object = &ask(&operator, &["stats", "--json", "--by", "ownerId,channel", "--owner", "CAMPAIGN"])
        .await
        .objects()[0];
    assert_eq!(object["by"], json!(["ownerId", "channel"]));
    assert_eq!(object["funnel"][0]["group"], json!(["57", "whatsapp"]));
    assert_eq!(
        (&object["funnel"][0]["messages"], &object["failures"][0]["messages"]),
        (&json!(40), &json!(2))
    );
    assert_eq!((&object["insight"]["lag"], &object["sources"][0]["source"]), (&json!(0), &json!("bik")));
    assert_eq!(object["handlers"][0]["handler"], "crm");
    let tests = &ask(&operator, &["stats", "--json", "--tests", "--by", "owner"]).await.objects()[0];
    assert!(tests["funnel"].as_array().unwrap().iter().any(|row| row["group"] == json!(["TEST_CAMPAIGN"])));
    let none = ask(&operator, &["stats", "--since", "2001-01-01", "--until", "2001-01-02"]).await.ok();
    assert!(none.contains("\n none\n"), "{none}");
    let wrong = ask(&operator, &["stats", "--by", "colour"]).await;
    assert!(wrong.code == 2 && wrong.err.contains("use one of category, owner, "), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_ten_thousand_events_gives_the_same_figures_as_before() {
    let operator = Operator::new().await;
    for block in 0..10 {
        let events = (0..250).flat_map(|n| {
            let message = format!("m-{block}-{n}");
            let owner = ["CAMPAIGN", "AGENT", "BOT"][n % 3];
            let [second, third] = match n % 7 {
                0 => [("failed", "Message Undeliverable."), ("queued", "")],
                _ => [("read", ""), ("delivered", "")],
            };
            // Read before delivered: the figures do not depend on the order.
            let of = |(word, reason)| told(&message, word, owner, reason);
            [
                of(("sent", "")),
                of(second),
                of(third),
                incoming(&format!("i-{block}-{n}"), &format!("in-{block}-{n}")),
            ]
        });
        operator.store(events.collect::<Vec<_>>()).await;
    }
    operator.learnt().await;
    let figures = async || {
        let stats = [
            "stats",
            "--json",
            "--by",
            "category,ownerId,day",
            "--since",
            "2020-01-01",
            "--until",
            "2100-01-01",
        ];
        let mut stats = ask(&operator, &stats).await.objects().remove(0);
        for source in stats["sources"].as_array_mut().unwrap() {
            source.as_object_mut().unwrap().remove("silentSeconds");
        }
        [stats["funnel"].take(), stats["failures"].take(), stats["sources"].take(), stats["insight"].take()]
    };
    let before = figures().await;
    let messages: i64 =
        before[0].as_array().unwrap().iter().map(|row| row["messages"].as_i64().unwrap()).sum();
    assert_eq!((messages, &before[3]["cursor"]), (2_500, &json!(10_000)));

    let told = ask(&operator, &["rebuild"]).await.ok();
    assert_eq!(told, "insight is rebuilt up to seq 10000\n");
    assert_eq!(figures().await, before);
    let object = ask(&operator, &["rebuild", "--detach", "--json"]).await.objects();
    assert_eq!(object[0]["enabled"], true);
    operator.learnt().await;
}

#[tokio::test]
async fn each_command_reports_that_insight_is_disabled() {
    let operator = Operator::guarded(Guard { without_insight: true, ..Guard::default() }).await;
    for command in [&["stats"][..], &["message", "m"], &["rebuild"]] {
        ask(&operator, command).await.failed("insight");
    }
}
