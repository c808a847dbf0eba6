//! A kind that nobody thought of: it comes down, and wakes who reads it.

use longshore_twin::KINDS;

use super::*;

/// All that a new reader of objects says of itself.
const WIDGETS: &[&str] = &["Widget"];

fn widget(rig: &Rig, name: &str, json: Option<&'static str>) {
    let key = ObjectKey {
        kind: "Widget".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    };
    let log = &mut rig.memory.lock().unwrap().log;
    match json {
        Some(json) => log.put(
            key,
            Content {
                uid: format!("uid-{name}"),
                resource_version: "1".to_owned(),
                json: Bytes::from_static(json.as_bytes()),
            },
        ),
        None => log.delete(&key),
    };
}

async fn widgets(rig: &Rig) -> Vec<(String, String)> {
    let objects = rig.store.objects(WIDGETS).await.unwrap().into_iter();
    objects.map(|o| (o.key.name, o.json)).collect()
}

#[tokio::test]
async fn a_made_up_kind_needs_its_reader_and_nothing_else() {
    let rig = Rig::new();
    let mut engine = rig.store.changed(KINDS);
    let mut reader = rig.store.changed(WIDGETS);
    widget(&rig, "wheel", Some(r#"{"spec":{"radius":3}}"#));
    let hub = rig.hub("localhost", 0, &rig.ca).await;
    let sync = rig.start(hub.port);
    let wheel = ("wheel".to_owned(), r#"{"spec":{"radius":3}}"#.to_owned());
    rig.wait("the widget is here", async || {
        widgets(&rig).await == [wheel.clone()]
    })
    .await;
    assert!(reader.has_changed().unwrap());
    assert!(
        !engine.has_changed().unwrap(),
        "the engine reads no widgets"
    );
    reader.mark_unchanged();

    // A device wakes the engine alone.
    let port = hub.port;
    hub.task.abort();
    let _ = hub.task.await;
    rig.object("boiler");
    let hub = rig.hub("localhost", port, &rig.ca).await;
    rig.wait("the device is here", async || {
        rig.names().await == ["boiler"]
    })
    .await;
    assert!(engine.has_changed().unwrap());
    assert!(!reader.has_changed().unwrap(), "no widget changed");
    engine.mark_unchanged();

    hub.task.abort();
    let _ = hub.task.await;
    widget(&rig, "wheel", None);
    let _hub = rig.hub("localhost", port, &rig.ca).await;
    rig.wait("the widget is gone", async || {
        widgets(&rig).await.is_empty()
    })
    .await;
    assert!(reader.has_changed().unwrap());
    assert!(!engine.has_changed().unwrap(), "no device changed");
    assert_eq!(rig.names().await, ["boiler"]);
    sync.stop().await;
}
