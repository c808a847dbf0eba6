//! What was answered is kept, whenever the edge dies and whatever its disk does.

use longshore_harness::prelude::*;

const UPDATE: &str = "$hw/events/device/default/pump/twin/update";
const RESULT: &str = "$hw/events/device/default/pump/twin/update/result";

fn pump(plc: &Simulator) -> DeviceManifest {
    device("pump")
        .unit(plc, 1)
        .read_write("speed", "INT", json!({"address": "hr:0"}))
        .read_write("level", "INT", json!({"address": "hr:1"}))
}

async fn plc() -> Simulator {
    modbus()
        .unit(1)
        .register(40_001, 0)
        .register(40_002, 0)
        .start()
        .await
}

/// Asks for a value, and returns the answer as soon as it is there.
async fn ask(edge: &Edge, property: &str, kind: &str, value: u16) -> Json {
    let results = subscribe(edge.bus_port(), RESULT).await;
    let id = format!("{property}-{value}");
    let twin = json!({"event_id": id, "twin": {property: {kind: {"value": value.to_string()}}}});
    results.publish(UPDATE, twin).await;
    let mine = |_: &str, answer: &Json| answer["event_id"] == id.as_str();
    results.hear_at_once("the answer", mine).await
}

fn desired(twin: &Json) -> u16 {
    let text = twin["desired"].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_killed_as_it_answers_has_kept_what_it_answered() {
    // Nobody answers there: only the store can remember.
    let away = device("pump")
        .speaking("modbus", json!({"url": "tcp://127.0.0.1:1", "unit": 1}))
        .read_write("speed", "INT", json!({"address": "hr:0"}));
    let mut edge = edge().device(&away).run().await;
    edge.twin_where("to be there", "pump", "speed", |_| true)
        .await;
    for round in 1..=rounds(12, 1_000) {
        let answer = ask(&edge, "speed", "expected", round).await;
        edge.kill();
        assert!(answer["code"].is_null(), "{answer}");
        edge.start_again().await;
        let kept = |twin: &Json| desired(twin) == round;
        edge.twin_where("to be kept", "pump", "speed", kept).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_client_that_is_away_is_there_after_a_kill() {
    let mut edge = edge().run().await;
    drop(subscribe_as(edge.bus_port(), "away", "line/+").await);
    let rounds = rounds(6, 200);
    for round in 0..rounds {
        let teller = subscribe(edge.bus_port(), "unheard").await;
        teller
            .publish_and_wait("line/parts", json!({"round": round}))
            .await;
        edge.kill_and_restart().await;
    }
    let back = subscribe_as(edge.bus_port(), "away", "line/+").await;
    let last = |_: &str, part: &Json| part["round"] == rounds - 1;
    back.hear("the last of them", last).await;
    // In their order, and none twice: nobody was told any of them before.
    let heard = back
        .heard()
        .into_iter()
        .map(|(_, part)| part["round"].clone());
    let sent: Vec<Json> = (0..rounds).map(Json::from).collect();
    assert_eq!(heard.collect::<Vec<_>>(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_measured_is_there_after_a_kill() {
    // No mapper serves it, so that the client may say what it is.
    let meter = device("pump")
        .speaking("none", json!({}))
        .read_write("speed", "INT", json!({}));
    let mut edge = edge().device(&meter).run().await;
    edge.twin_where("to be there", "pump", "speed", |_| true)
        .await;
    for round in 1..=rounds(6, 200) {
        let answer = ask(&edge, "speed", "actual", round).await;
        edge.kill();
        assert!(answer["code"].is_null(), "{answer}");
        edge.start_again().await;
        let kept = |twin: &Json| twin["value"] == json!(round);
        edge.twin_where("to be kept", "pump", "speed", kept).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_of_kills_the_device_never_gets_an_older_value_after_a_newer_one() {
    let plc = plc().await;
    let mut edge = edge().device(&pump(&plc)).run().await;
    edge.twin_is("pump", "speed", json!(0)).await;
    let mut answered = 0;
    for round in 1..=rounds(16, 500) {
        let answer = ask(&edge, "speed", "expected", round).await;
        assert!(answer["code"].is_null(), "{answer}");
        answered = round;
        match round % 4 {
            0 => edge.kill_mapper().await,
            // As the value is on its way to the device, on the average.
            1 => plc.wait_holding(1, 0, round).await,
            _ => {}
        }
        if round % 4 != 0 {
            edge.kill_and_restart().await;
        }
    }
    plc.wait_holding(1, 0, answered).await;
    edge.write_is("pump", "speed", "confirmed").await;
    let writes = plc.writes();
    let values: Vec<u16> = writes
        .iter()
        .flat_map(|write| write.values.clone())
        .collect();
    assert!(values.is_sorted(), "{values:?}");
    edge.nothing_dangles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_updates_and_goes_on_when_there_is_room() {
    let plc = plc().await;
    let mut edge = edge().device(&pump(&plc)).run().await;
    edge.twin_is("pump", "speed", json!(0)).await;
    ask(&edge, "speed", "expected", 5).await;
    edge.write_is("pump", "speed", "confirmed").await;

    let results = subscribe(edge.bus_port(), RESULT).await;
    edge.disk_is_full(true);
    let writes = plc.writes().len();
    for value in 6..9 {
        let twin = json!({"event_id": value.to_string(), "twin": {"speed": {"expected": {"value": value.to_string()}}}});
        results.publish(UPDATE, twin).await;
        let mine = |_: &str, answer: &Json| answer["event_id"] == value.to_string().as_str();
        let answer = results.hear("a refusal", mine).await;
        assert_eq!(answer["code"], 500, "{answer}");
        let reason = answer["reason"].as_str().unwrap_or_default();
        assert!(
            reason.starts_with("not kept, nothing has changed: "),
            "{answer}"
        );
    }
    // Readings go on; nothing was written.
    plc.set_holding(1, 1, 77);
    edge.twin_is("pump", "level", json!(77)).await;
    assert_eq!(plc.writes().len(), writes);
    assert_eq!(desired(&edge.twin("pump", "speed").await.unwrap()), 5);
    eventually("`/readyz` to say so", || async {
        let (code, text) = edge.get_text("/readyz").await?;
        if code == 503 { Ok(()) } else { Err(text) }
    })
    .await;

    edge.disk_is_full(false);
    eventually("an update to be kept again", || async {
        let answer = ask(&edge, "speed", "expected", 9).await;
        if answer["code"].is_null() {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
    plc.wait_holding(1, 0, 9).await;
    edge.kill_and_restart().await;
    edge.write_is("pump", "speed", "confirmed").await;
    assert_eq!(desired(&edge.twin("pump", "speed").await.unwrap()), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_whose_disk_is_full_ends_in_good_time_and_says_what_is_lost() {
    let plc = plc().await;
    let mut edge = edge().device(&pump(&plc)).run().await;
    edge.twin_is("pump", "speed", json!(0)).await;
    edge.disk_is_full(true);
    plc.set_holding(1, 1, 77);
    edge.twin_is("pump", "level", json!(77)).await;
    assert!(edge.process().terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_mounted_read_only_is_told_with_what_to_do() {
    let mut edge = edge().run().await;
    edge.kill();
    let log = edge.starts_in_vain_on_a_read_only_disk().await;
    let hint = "that the disk is not mounted read-only";
    assert!(log.contains(hint), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lost_its_content_is_told_and_made_anew() {
    let plc = plc().await;
    let mut edge = edge().device(&pump(&plc)).run().await;
    edge.twin_is("pump", "speed", json!(0)).await;
    let answer = ask(&edge, "speed", "expected", 5).await;
    assert!(answer["code"].is_null(), "{answer}");
    edge.write_is("pump", "speed", "confirmed").await;
    edge.kill();
    for file in ["edge.db", "edge.db-wal"] {
        let path = edge.folder().join("state").join(file);
        std::fs::write(path, "").unwrap();
    }
    edge.start_again().await;
    edge.twin_is("pump", "speed", json!(5)).await;
    let log = edge.log();
    let told = "the database has no content: what was in it, if anything, is lost";
    assert!(log.contains(told), "{log}");
}
