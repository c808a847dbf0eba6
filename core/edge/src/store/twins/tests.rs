use std::sync::Arc;

use longshore_twin::{Row, RowKind, Save, TwinBlob};
use tempfile::TempDir;

use super::super::StoreHandle;
use crate::config::StoreConfig;

fn open(folder: &TempDir) -> StoreHandle {
    StoreHandle::open(folder.path(), StoreConfig::default()).unwrap()
}

fn row(kind: RowKind, device: &str, json: Option<&str>) -> Row {
    Row {
        kind,
        device: device.to_owned(),
        name: "p".to_owned(),
        json: json.map(str::to_owned),
    }
}

fn blob(device: &str, data: &[u8]) -> TwinBlob {
    TwinBlob {
        device: device.to_owned(),
        data: data.to_vec(),
    }
}

async fn save(store: &StoreHandle, rows: Vec<Row>, twins: Vec<TwinBlob>) {
    let save = Save {
        rows,
        twins,
        ..Save::default()
    };
    let answer = store.try_save(Arc::new(save)).unwrap();
    answer.await.unwrap().unwrap();
}

#[tokio::test]
async fn twins_and_rows_stay_until_their_device_is_forgotten() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let kinds = [RowKind::Desired, RowKind::Actual, RowKind::Event];
    let rows = |device, json| kinds.map(|kind| row(kind, device, json)).to_vec();
    let all = [rows("a", Some("{}")), rows("b", Some("[]"))].concat();
    let twins = vec![blob("a", b"1"), blob("b", b"2"), blob("a", b"3")];
    save(&store, all, twins).await;
    store.close().await;
    let store = open(&folder);
    assert_eq!(
        store.twins().await.unwrap(),
        [blob("a", b"3"), blob("b", b"2")]
    );
    let both = kinds.map(|kind| [row(kind, "a", Some("{}")), row(kind, "b", Some("[]"))]);
    assert_eq!(store.rows().await.unwrap(), both.concat());
    save(&store, rows("a", None), vec![]).await;
    assert_eq!(store.rows().await.unwrap(), rows("b", Some("[]")));
    // Forgotten first: its name may be another device's by now.
    let again = Save {
        forgotten: vec!["b".to_owned()],
        rows: vec![row(RowKind::Actual, "b", Some("7"))],
        ..Save::default()
    };
    let answer = store.try_save(Arc::new(again)).unwrap();
    answer.await.unwrap().unwrap();
    assert_eq!(
        store.rows().await.unwrap(),
        [row(RowKind::Actual, "b", Some("7"))]
    );
    assert_eq!(store.twins().await.unwrap(), [blob("a", b"3")]);
}

#[tokio::test]
async fn a_damaged_row_does_not_hide_the_others() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let rows = vec![
        row(RowKind::Desired, "a", Some("{}")),
        row(RowKind::Desired, "b", Some("{}")),
    ];
    let twins = vec![blob("a", b"1"), blob("b", b"2")];
    save(&store, rows, twins).await;
    let damage = "UPDATE desired SET json = x'ff00' WHERE device = 'a';
                  UPDATE twins SET data = 7 WHERE device = 'a'";
    let damaged = store.writer().run(|job| job.execute_batch(damage)).await;
    damaged.unwrap();
    let rows = store.rows().await.unwrap();
    assert_eq!(
        (rows.len(), &rows[1]),
        (2, &row(RowKind::Desired, "b", Some("{}")))
    );
    assert_eq!(store.twins().await.unwrap()[1], blob("b", b"2"));
}
