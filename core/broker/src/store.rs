//! `bus.db`: what outlives the broker.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use longshore_sqlite::{Connection, Database, Error, Schema, Settings, SqlError, Writer, params};

use crate::{
    codec::{Content, QoS},
    core::{Batch, Change, Restored, RestoredEntry, RestoredSession},
    limits::Limits,
    shelf::{MessageId, Row},
    subscriptions::Options,
};

/// Its name in the broker's folder.
pub(crate) const FILE: &str = "bus.db";

static SCHEMA: Schema = Schema {
    owner: "the MQTT broker",
    without: "sessions of MQTT clients, what waits for them and retained messages are then forgotten",
    application: 0x4c_53_42_31,
    migrations: &["
        CREATE TABLE sessions (
            key INTEGER PRIMARY KEY,
            client TEXT NOT NULL,
            user TEXT,
            expiry_s INTEGER NOT NULL,
            -- Of the wall clock; NULL while the client was connected.
            ends_ms INTEGER,
            -- QoS 2: packet ids that are received and not released, two bytes each.
            received BLOB NOT NULL
        ) STRICT;
        CREATE TABLE filters (
            session INTEGER NOT NULL,
            filter TEXT NOT NULL,
            options INTEGER NOT NULL,
            identifier INTEGER,
            PRIMARY KEY (session, filter)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE messages (
            id INTEGER PRIMARY KEY,
            -- Of topic, properties and payload, so that a start need not read them.
            size INTEGER NOT NULL,
            qos INTEGER NOT NULL,
            expiry_s INTEGER,
            expires_ms INTEGER,
            topic TEXT NOT NULL,
            properties BLOB NOT NULL,
            payload BLOB NOT NULL
        ) STRICT;
        CREATE TABLE queue (
            session INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            -- NULL when only its release is left.
            message INTEGER,
            packet INTEGER,
            qos INTEGER NOT NULL,
            retain INTEGER NOT NULL,
            identifiers BLOB NOT NULL,
            PRIMARY KEY (session, seq)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE retained (
            topic TEXT PRIMARY KEY,
            message INTEGER NOT NULL,
            own INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
    "],
};

/// Opens the file and reads what the broker keeps in memory of it, which is
/// everything but the messages themselves.
pub(crate) fn open(folder: &Path, limits: &Limits) -> Result<(Writer<()>, Restored), Error> {
    let settings = Settings {
        cache_kib: 512,
        checkpoint_pages: 256,
        // Twice what is counted, as SQLite's pages are not full.
        max_bytes: Some(limits.disk as u64 * 2 + (4 << 20)),
        queue: 16,
        ..Settings::default()
    };
    let mut database = Database::open(&folder.join(FILE), &SCHEMA, settings)?;
    let restored = database.with(|file| restore(file, now_ms()))?;
    Ok((database.start("mqtt store", ())?, restored))
}

/// Reads messages, as far as they are there.
pub(crate) async fn load(
    writer: &Writer<()>,
    wanted: Vec<(MessageId, Row)>,
) -> Result<Vec<(MessageId, Row, Content)>, Error> {
    writer
        .run(move |file| {
            let mut select = file
                .prepare_cached("SELECT topic, properties, payload FROM messages WHERE id = ?1")?;
            let mut found = Vec::with_capacity(wanted.len());
            for (id, row) in wanted {
                let mut rows = select.query(params![signed(row)])?;
                if let Some(columns) = rows.next()? {
                    let content = Content {
                        topic: columns.get::<_, Box<str>>(0)?.into(),
                        properties: Bytes::from(columns.get::<_, Vec<u8>>(1)?),
                        payload: Bytes::from(columns.get::<_, Vec<u8>>(2)?),
                    };
                    found.push((id, row, content));
                }
            }
            Ok(found)
        })
        .await
}

/// Writes a batch. What is answered stands on the disk.
pub(crate) async fn write(writer: &Writer<()>, batch: Batch) -> Result<(), Error> {
    let now = now_ms();
    writer
        .run(move |file| batch.iter().try_for_each(|change| apply(file, change, now)))
        .await
}

fn apply(file: &Connection, change: &Change, now: i64) -> Result<(), SqlError> {
    let run = |sql: &str, values: &[&dyn longshore_sqlite::ToSql]| -> Result<(), SqlError> {
        file.prepare_cached(sql)?.execute(values).map(drop)
    };
    match change {
        Change::EndSession(key) => {
            let key = signed(*key);
            run("DELETE FROM sessions WHERE key = ?1", params![key])?;
            run("DELETE FROM filters WHERE session = ?1", params![key])?;
            run("DELETE FROM queue WHERE session = ?1", params![key])
        }
        Change::SaveSession {
            key,
            client,
            user,
            expiry,
            left,
            received,
        } => {
            let received: Vec<u8> = received.iter().flat_map(|id| id.to_be_bytes()).collect();
            run(
                "INSERT OR REPLACE INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    signed(*key),
                    &**client,
                    user.as_deref(),
                    seconds(*expiry),
                    left.map(|left| now.saturating_add(milliseconds(left))),
                    received
                ],
            )
        }
        Change::SaveFilter {
            key,
            filter,
            options,
        } => run(
            "INSERT OR REPLACE INTO filters VALUES (?1, ?2, ?3, ?4)",
            params![signed(*key), &**filter, options.bits(), options.identifier],
        ),
        Change::DropFilter { key, filter } => run(
            "DELETE FROM filters WHERE session = ?1 AND filter = ?2",
            params![signed(*key), &**filter],
        ),
        Change::SaveMessage {
            row,
            content,
            qos,
            left,
        } => run(
            "INSERT OR REPLACE INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                signed(*row),
                content.size() as i64,
                *qos as u8,
                left.map(seconds),
                left.map(|left| now.saturating_add(milliseconds(left))),
                &*content.topic,
                &content.properties[..],
                &content.payload[..]
            ],
        ),
        Change::Queue {
            key,
            seq,
            row,
            id,
            qos,
            retain,
            identifiers,
        } => {
            let identifiers: Vec<u8> = identifiers.iter().flat_map(|id| id.to_be_bytes()).collect();
            run(
                "INSERT OR REPLACE INTO queue VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    signed(*key),
                    signed(*seq),
                    row.map(signed),
                    id,
                    *qos as u8,
                    retain,
                    identifiers
                ],
            )
        }
        Change::Unqueue { key, seq } => run(
            "DELETE FROM queue WHERE session = ?1 AND seq = ?2",
            params![signed(*key), signed(*seq)],
        ),
        Change::Retain { topic, row, own } => run(
            "INSERT OR REPLACE INTO retained VALUES (?1, ?2, ?3)",
            params![&**topic, signed(*row), own],
        ),
        Change::Unretain(topic) => run("DELETE FROM retained WHERE topic = ?1", params![&**topic]),
        Change::DropMessage(row) => {
            run("DELETE FROM messages WHERE id = ?1", params![signed(*row)])
        }
    }
}

fn restore(file: &Connection, now: i64) -> Result<Restored, SqlError> {
    let mut restored = Restored::default();
    // A clock that was wrong before or is wrong now ends nothing early by more than
    // it was to last, and keeps nothing longer than that.
    let left = |expiry_s: i64, until_ms: Option<i64>| {
        let most = Duration::from_secs(u64::try_from(expiry_s).unwrap_or_default());
        let left = until_ms.map(|until| u64::try_from(until.saturating_sub(now)).unwrap_or(0));
        left.map_or(most, |left| Duration::from_millis(left).min(most))
    };
    let mut select = file.prepare("SELECT id, size, qos, expiry_s, expires_ms FROM messages")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let id = unsigned(row.get(0)?);
        let expiry: Option<i64> = row.get(3)?;
        let until: Option<i64> = row.get(4)?;
        restored.next_row = restored.next_row.max(id);
        restored.messages.push((
            id,
            usize::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
            qos(row.get(2)?),
            expiry.map(|expiry| left(expiry, until)),
        ));
    }
    let mut select = file.prepare("SELECT topic, message, own FROM retained")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let topic: Box<str> = row.get(0)?;
        let entry = (topic.into(), unsigned(row.get(1)?), row.get(2)?);
        restored.retained.push(entry);
    }
    restored.sessions = sessions(file, left)?;
    restored.next_key = restored
        .sessions
        .iter()
        .map(|session| session.key)
        .max()
        .unwrap_or(0);
    Ok(restored)
}

fn sessions(
    file: &Connection,
    left: impl Fn(i64, Option<i64>) -> Duration,
) -> Result<Vec<RestoredSession>, SqlError> {
    let mut entries: HashMap<u64, Vec<RestoredEntry>> = HashMap::new();
    let mut select = file.prepare(
        "SELECT session, seq, message, packet, qos, retain, identifiers FROM queue
         ORDER BY session, seq",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let identifiers: Vec<u8> = row.get(6)?;
        let (fours, _) = identifiers.as_chunks::<4>();
        let entry = RestoredEntry {
            seq: unsigned(row.get(1)?),
            message: row.get::<_, Option<i64>>(2)?.map(unsigned),
            id: row.get(3)?,
            qos: qos(row.get(4)?),
            retain: row.get(5)?,
            identifiers: fours.iter().map(|four| u32::from_be_bytes(*four)).collect(),
        };
        entries
            .entry(unsigned(row.get(0)?))
            .or_default()
            .push(entry);
    }
    let mut filters: HashMap<u64, Vec<(Arc<str>, Options)>> = HashMap::new();
    let mut select = file.prepare("SELECT session, filter, options, identifier FROM filters")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let filter: Box<str> = row.get(1)?;
        let options = Options::from_bits(row.get(2)?, row.get(3)?);
        let session = filters.entry(unsigned(row.get(0)?)).or_default();
        session.push((filter.into(), options));
    }
    let mut sessions = Vec::new();
    let mut select =
        file.prepare("SELECT key, client, user, expiry_s, ends_ms, received FROM sessions")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let key = unsigned(row.get(0)?);
        let received: Vec<u8> = row.get(5)?;
        let (twos, _) = received.as_chunks::<2>();
        let expiry: i64 = row.get(3)?;
        let client: Box<str> = row.get(1)?;
        let user: Option<Box<str>> = row.get(2)?;
        sessions.push(RestoredSession {
            key,
            client: client.into(),
            user: user.map(Into::into),
            expiry: Duration::from_secs(u64::try_from(expiry).unwrap_or_default()),
            left: left(expiry, row.get(4)?),
            received: twos.iter().map(|two| u16::from_be_bytes(*two)).collect(),
            filters: filters.remove(&key).unwrap_or_default(),
            entries: entries.remove(&key).unwrap_or_default(),
        });
    }
    Ok(sessions)
}

fn qos(number: u8) -> QoS {
    QoS::new(number).unwrap_or(QoS::AtLeastOnce)
}

/// SQLite's numbers have a sign; ours count from 1.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    milliseconds(now.unwrap_or_default())
}

#[cfg(test)]
mod tests;
