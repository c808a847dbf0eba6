use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use tempfile::TempDir;

use super::*;

const FIRST: &str = "CREATE TABLE rows (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT";
const SECOND: &str = "ALTER TABLE rows ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'";

static OLD: Schema = Schema {
    owner: "tester",
    without: "it starts anew",
    application: 0x4c53_5454,
    migrations: &[FIRST],
};
static NEW: Schema = Schema {
    migrations: &[FIRST, SECOND],
    ..OLD
};

const SHARED: Settings = Settings {
    cache_kib: 64,
    checkpoint_pages: 100,
    readers: true,
    secret: true,
    max_bytes: None,
    queue: 64,
};

fn alone() -> Settings {
    Settings::default()
}

fn file() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("test.db");
    (folder, path)
}

fn open(path: &Path) -> Database {
    Database::open(path, &NEW, alone()).unwrap()
}

fn start(path: &Path) -> Writer<u64> {
    open(path).start("test", 0).unwrap()
}

fn insert(job: &mut Job<'_, u64>, n: i64) -> Result<u64, SqlError> {
    *job.state += 1;
    job.execute("INSERT INTO rows (n, text) VALUES (?1, 'x')", [n])?;
    Ok(*job.state)
}

async fn rows(writer: &Writer<u64>) -> Vec<i64> {
    let rows = writer.run(|job| {
        let mut query = job.prepare("SELECT n FROM rows ORDER BY n")?;
        query.query_map([], |row| row.get(0))?.collect()
    });
    rows.await.unwrap()
}

/// Holds the writer up, so that what is asked next comes as one group.
fn hold(writer: &Writer<u64>) -> mpsc::SyncSender<()> {
    let (release, held) = mpsc::sync_channel::<()>(8);
    let (working, works) = mpsc::sync_channel(8);
    let answer = writer.try_run(move |_| {
        working.send(()).unwrap();
        // Released, or its test has failed.
        let _ = held.recv();
        Ok(())
    });
    drop(answer.unwrap());
    works.recv().unwrap();
    release
}

#[tokio::test]
async fn a_job_that_fails_fails_alone_with_what_it_did() {
    let (_folder, path) = file();
    let writer = start(&path);
    let hooks = Arc::new(AtomicU32::new(0));
    let release = hold(&writer);
    let mut answers = Vec::new();
    for n in [1, 2, 1, 3] {
        let hooks = Arc::clone(&hooks);
        let answer = writer.try_run(move |job| {
            job.after_commit(move || {
                hooks.fetch_add(1, Ordering::Relaxed);
            });
            job.execute(
                "INSERT INTO rows (n, text) VALUES (?1, 'of the job')",
                [n + 100],
            )?;
            insert(job, n)
        });
        answers.push(answer.unwrap());
    }
    drop(release);
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.unwrap());
    }
    assert_eq!(*outcomes[0].as_ref().unwrap(), 1);
    assert_eq!(*outcomes[1].as_ref().unwrap(), 2);
    assert!(
        matches!(outcomes[2], Err(Error::Sql { .. })),
        "{outcomes:?}"
    );
    assert_eq!(*outcomes[3].as_ref().unwrap(), 3, "its state was undone");
    assert_eq!(rows(&writer).await, [1, 2, 3, 101, 102, 103]);
    assert_eq!(hooks.load(Ordering::Relaxed), 3);
    assert_eq!((writer.health().errors, writer.health().fault), (1, None));
}

#[tokio::test]
async fn a_commit_that_fails_fails_its_group_and_nothing_is_applied() {
    let (_folder, path) = file();
    let writer = start(&path);
    let release = hold(&writer);
    let first = writer.try_run(|job| insert(job, 1)).unwrap();
    // Whoever rolls back takes the whole transaction away.
    let rogue = writer.try_run(|job| job.execute_batch("ROLLBACK")).unwrap();
    let last = writer.try_run(|job| insert(job, 2)).unwrap();
    drop(release);
    assert!(first.await.unwrap().is_err());
    assert!(rogue.await.unwrap().is_err());
    assert!(last.await.unwrap().is_err());
    assert!(writer.health().fault.is_some());
    assert_eq!(writer.run(|job| insert(job, 3)).await.unwrap(), 1);
    assert_eq!(rows(&writer).await, [3]);
    assert_eq!(writer.health().fault, None, "well again");
}

#[tokio::test]
async fn a_full_disk_is_told_until_there_is_room() {
    let (_folder, path) = file();
    let mut database = open(&path);
    let pages: u64 = database
        .with(|db| db.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)))
        .unwrap() as u64;
    drop(database);
    let settings = Settings {
        max_bytes: Some((pages + 20) * 4096),
        ..alone()
    };
    let writer = Database::open(&path, &NEW, settings).unwrap();
    let writer = writer.start("test", 0_u64).unwrap();
    let big = writer.run(|job| {
        insert(job, 1)?;
        job.execute(
            "INSERT INTO rows (n, text) VALUES (2, hex(zeroblob(200000)))",
            [],
        )
    });
    let error = big.await.unwrap_err();
    assert!(
        matches!(error, Error::Full { .. }) && error.is_retryable(),
        "{error:?}"
    );
    let fault = writer.health().fault.expect("it is full");
    assert!(fault.reason.contains("is full"), "{fault}");
    assert!(
        fault.to_string().contains("; make room on the disk"),
        "{fault}"
    );
    writer.run(|job| insert(job, 3)).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(rows(&writer).await, [3]);
    assert_eq!(writer.health().fault, None, "well again");
}

#[tokio::test]
async fn what_was_asked_before_the_close_is_done_and_nothing_after_it() {
    let (_folder, path) = file();
    let writer = start(&path);
    let release = hold(&writer);
    let before = writer.try_run(|job| insert(job, 1)).unwrap();
    let closing = tokio::spawn({
        let writer = writer.clone();
        async move { writer.close().await }
    });
    drop(release);
    closing.await.unwrap();
    assert_eq!(before.await.unwrap().unwrap(), 1);
    let late = writer.run(|job| insert(job, 2)).await;
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    assert!(!path.with_extension("db-wal").exists(), "one tidy file");
    let again = start(&path);
    assert_eq!(rows(&again).await, [1]);
}

#[tokio::test]
async fn a_writer_that_panics_is_seen() {
    let (_folder, path) = file();
    let writer = start(&path);
    let died = writer.run(|_| -> Result<(), SqlError> { panic!("on purpose") });
    assert!(matches!(died.await, Err(Error::Closed)));
    writer.close().await;
    assert!(
        writer
            .health()
            .fault
            .is_some_and(|fault| fault.reason.contains("panicked"))
    );
}

#[test]
fn a_file_of_a_former_version_is_brought_up_with_its_rows() {
    let (_folder, path) = file();
    let mut old = Database::open(&path, &OLD, alone()).unwrap();
    old.with(|db| db.execute_batch("INSERT INTO rows VALUES (7, 'old')"))
        .unwrap();
    drop(old);
    let mut new = open(&path);
    let colour: String = new
        .with(|db| db.query_row("SELECT colour FROM rows WHERE n = 7", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(colour, "grey");
    drop(new);

    let error = Database::open(&path, &OLD, alone()).unwrap_err();
    assert!(matches!(error, Error::Newer { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("has schema 2, this tester knows up to 1")
    );
    assert!(
        error
            .hint()
            .unwrap()
            .contains("install the newer tester again")
    );
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    static BROKEN: Schema = Schema {
        migrations: &[FIRST, SECOND, "CREATE TABLE rows (n INTEGER)"],
        ..OLD
    };
    let (_folder, path) = file();
    drop(Database::open(&path, &OLD, alone()).unwrap());
    let error = Database::open(&path, &BROKEN, alone()).unwrap_err();
    assert!(matches!(error, Error::Sql { .. }), "{error:?}");
    drop(Database::open(&path, &OLD, alone()).unwrap());
}

#[test]
fn each_unusable_file_has_its_own_error() {
    let (_folder, path) = file();
    for settings in [alone(), SHARED] {
        fs::write(
            &path,
            "this is certainly not a database, but a text of some length",
        )
        .unwrap();
        let error = Database::open(&path, &NEW, settings).unwrap_err();
        assert!(matches!(error, Error::NotADatabase { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("it starts anew"));

        fs::remove_file(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        let error = Database::open(&path, &NEW, settings).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_second_user_is_refused() {
    for settings in [alone(), SHARED] {
        let (_folder, path) = file();
        let _first = Database::open(&path, &NEW, settings).unwrap();
        let error = Database::open(&path, &NEW, settings).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    }
}

#[test]
fn damage_in_the_middle_is_noticed_at_start() {
    let (_folder, path) = file();
    let mut database = open(&path);
    database
        .with(|db| {
            for n in 0..200 {
                db.execute(
                    "INSERT INTO rows (n, text) VALUES (?1, hex(randomblob(1000)))",
                    [n],
                )?;
            }
            Ok(())
        })
        .unwrap();
    drop(database);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20_000..24_096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = Database::open(&path, &NEW, alone()).unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error:?}");
}

#[test]
fn a_file_that_another_one_is_about_to_leave_is_waited_for() {
    let (_folder, path) = file();
    let former = Database::open(&path, &NEW, SHARED).unwrap();
    let lock = PathBuf::from(format!("{}.lock", path.display()));
    let opened = || {
        let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files = files.filter_map(|entry| fs::read_link(entry.path()).ok());
        files.filter(|file| *file == lock).count()
    };
    let opening = std::thread::spawn(move || Database::open(&path, &NEW, SHARED));
    // It stands before the lock, or has given up.
    while opened() < 2 && !opening.is_finished() {
        std::thread::yield_now();
    }
    drop(former);
    opening.join().unwrap().unwrap();
}

#[test]
fn what_is_there_already_is_taken_from_others() {
    let (_folder, path) = file();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    drop(open(&path));
    assert_eq!(mode(&path), 0o600, "a new one");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let _database = Database::open(&path, &NEW, SHARED).unwrap();
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let path = PathBuf::from(format!("{}{suffix}", path.display()));
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_reader_sees_what_is_committed_and_nothing_else() {
    let (_folder, path) = file();
    let database = Database::open(&path, &NEW, SHARED).unwrap();
    let readers = database.readers(2);
    let writer = database.start("test", 0_u64).unwrap();
    let count =
        |db: &Connection| db.query_row("SELECT count(*) FROM rows", [], |row| row.get::<_, i64>(0));
    writer.run(|job| insert(job, 1)).await.unwrap();
    assert_eq!(readers.run(count).await.unwrap(), 1_i64);
    let (release, held) = mpsc::sync_channel::<()>(8);
    let (inserted, inside) = mpsc::sync_channel(8);
    let writing = writer.try_run(move |job| {
        insert(job, 2)?;
        inserted.send(()).unwrap();
        let _ = held.recv();
        Ok(())
    });
    inside.recv().unwrap();
    assert_eq!(readers.run(count).await.unwrap(), 1_i64);
    drop(release);
    writing.unwrap().await.unwrap().unwrap();
    assert_eq!(readers.run(count).await.unwrap(), 2_i64);
    let write = readers.run(|db| db.execute_batch("DELETE FROM rows")).await;
    assert!(matches!(write, Err(Error::ReadOnly { .. })), "{write:?}");
    let died = readers.run(|_| -> Result<(), SqlError> { panic!("on purpose") });
    assert!(matches!(died.await, Err(Error::Panicked { .. })));
    assert_eq!(readers.run(count).await.unwrap(), 2_i64, "the others go on");
    readers.close();
    assert!(matches!(readers.run(count).await, Err(Error::Closed)));
}

#[tokio::test]
async fn jobs_that_come_within_the_interval_share_a_commit() {
    let (_folder, path) = file();
    // Far longer than it takes to ask three times.
    let interval = std::time::Duration::from_secs(1);
    let database = open(&path).commit_every(interval);
    let writer = database.start("test", 0_u64).unwrap();
    let story = Arc::new(std::sync::Mutex::new(Vec::new()));
    let jobs = [1, 2, 3].map(|n| {
        let story = story.clone();
        let work = move |job: &mut Job<'_, u64>| {
            story.lock().unwrap().push("work");
            job.after_commit(move || story.lock().unwrap().push("committed"));
            insert(job, n)
        };
        writer.try_run(work).unwrap()
    });
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    let told = story.lock().unwrap().join(" ");
    assert_eq!(told, "work work work committed committed committed");
    writer.close().await;
    assert_eq!(rows(&start(&path)).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_file_without_content_is_made_anew() {
    let (_folder, path) = file();
    fs::write(&path, b"").unwrap();
    let writer = start(&path);
    writer.run(|job| insert(job, 1)).await.unwrap();
    assert_eq!(rows(&writer).await, [1]);
}

/// Pages that stand in the log, by the size of its file, which is used again and not cut.
fn log_pages(path: &Path) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    fs::metadata(PathBuf::from(name)).map_or(0, |file| file.len() / 4096)
}

/// Who waits for an answer does not wait for the log to be folded into the file; the
/// log is bounded all the same, also while there is always somebody.
#[tokio::test]
async fn the_log_is_folded_behind_the_answers_and_bounded() {
    for settings in [
        Settings {
            readers: false,
            ..SHARED
        },
        SHARED,
    ] {
        let (_folder, path) = file();
        let database = Database::open(&path, &NEW, settings).unwrap();
        let writer = database.start("test", 0).unwrap();
        let large = |n: i64| {
            move |job: &mut Job<'_, u64>| {
                let text = "x".repeat(8_000);
                job.execute("INSERT INTO rows (n, text) VALUES (?1, ?2)", (n, text))
            }
        };
        // The bound, and what one group may put on top.
        let most = u64::from(4 * SHARED.checkpoint_pages) + 4 * SHARED.queue as u64;
        for n in 0..600 {
            writer.run(large(n)).await.unwrap();
        }
        let pages = log_pages(&path);
        assert!(pages <= most, "{pages} pages");
        let folded = fs::metadata(&path).unwrap().len() / 4096;
        assert!(folded + most >= 1_200, "{folded} pages in the file");
        // All at once, so that the next is there before the last is answered.
        let mut answers = Vec::new();
        for n in 1_000..3_000 {
            let writer = writer.clone();
            answers.push(tokio::spawn(async move { writer.run(large(n)).await }));
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        let pages = log_pages(&path);
        assert!(pages <= most, "{pages} pages");
        writer.close().await;
    }
}
