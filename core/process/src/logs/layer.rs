//! The layer of tracing that writes lines, no more of a kind than the limiter lets.

use std::{
    collections::hash_map::DefaultHasher,
    fmt::{self, Debug, Write as _},
    hash::Hasher,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use longshore_types::Timestamp;
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::{
    limit::{Allowances, Decision, LeftOut, Limiter},
    lines::{self, Format, Head},
};

/// What a line is about, where it says so: one of these does not silence another.
const SUBJECTS: [&str; 4] = ["mapper", "device", "node", "task"];
/// How often is looked for what went quiet, while something is owed.
const LOOK: Duration = Duration::from_secs(1);

/// Writes lines; its clones write as one.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    format: Format,
    /// Targets whose lines are bounded where they come from.
    relayed: Vec<String>,
    limiter: Mutex<Limiter<Place>>,
    owes: Condvar,
    teller: Once,
    out: Out,
}

/// Where lines go.
type Out = Box<dyn Fn(&[u8]) + Send + Sync>;

#[derive(Debug, Clone, Copy)]
struct Place(&'static Metadata<'static>);

impl Place {
    fn id(&self) -> Identifier {
        self.0.callsite()
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Place {}

impl std::hash::Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl Lines {
    /// Lines on standard error.
    pub(super) fn new(format: Format, relayed: Vec<String>) -> Self {
        Self::to(format, relayed, |line| {
            // Nothing is left to tell it to.
            let _ = io::stderr().lock().write_all(line);
        })
    }

    fn to(
        format: Format,
        relayed: Vec<String>,
        out: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            format,
            relayed,
            limiter: Mutex::new(Limiter::new()),
            owes: Condvar::new(),
            teller: Once::new(),
            out: Box::new(out),
        }))
    }

    /// Tells all that was left out and not told yet.
    pub(super) fn finish(&self) {
        let rest = self.0.limiter().all();
        self.0.tell(&rest);
    }

    /// Something was left out: it is told though nothing of its kind comes again.
    ///
    /// A thread and not a task: lines come from threads without a runtime too.
    /// It starts with the first flood and sleeps while nothing is owed.
    fn owe(&self) {
        self.0.teller.call_once(|| {
            let shared = self.0.clone();
            let told = std::thread::Builder::new()
                .name("logs".to_owned())
                .spawn(move || shared.tell_what_went_quiet());
            if let Err(error) = told {
                let text = format!("lines that are left out are told late: {error}\n");
                (self.0.out)(text.as_bytes());
            }
        });
        self.0.owes.notify_one();
    }
}

impl Shared {
    fn limiter(&self) -> MutexGuard<'_, Limiter<Place>> {
        // Nothing that panics runs under the lock.
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, left_out: &[LeftOut<Place>]) {
        let mut text = String::new();
        self.format_left_out(&mut text, &now(), left_out);
        if !text.is_empty() {
            (self.out)(text.as_bytes());
        }
    }

    fn format_left_out(&self, text: &mut String, time: &str, left_out: &[LeftOut<Place>]) {
        for LeftOut { place, count, like } in left_out {
            let head = Head {
                time,
                metadata: place.0,
            };
            self.format.left_out(text, &head, *count, like);
        }
    }

    fn tell_what_went_quiet(&self) {
        let mut limiter = self.limiter();
        loop {
            if limiter.owes() {
                let waited = self.owes.wait_timeout(limiter, LOOK);
                limiter = waited.map_or_else(|error| error.into_inner().0, |(guard, _)| guard);
                let quiet = limiter.overdue(Instant::now());
                drop(limiter);
                self.tell(&quiet);
                // A flood notifies with each line; there is no hurry.
                std::thread::sleep(LOOK);
                limiter = self.limiter();
            } else {
                let waited = self.owes.wait(limiter);
                limiter = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn allowances(&self, metadata: &Metadata<'_>) -> Allowances {
        let target = metadata.target();
        if self.relayed.iter().any(|relayed| target == relayed) {
            Allowances::RELAYED
        } else if *metadata.level() <= Level::INFO {
            Allowances::USUAL
        } else {
            Allowances::CLOSE
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let allowances = self.0.allowances(metadata);
        let decision = self.0.limiter().decide(
            Place(metadata),
            subject(event),
            allowances,
            Instant::now(),
            || lines::message(event),
        );
        match decision {
            Decision::LeaveOut => self.owe(),
            Decision::Write(left_out) => {
                let time = now();
                let mut text = String::with_capacity(256);
                self.0.format_left_out(&mut text, &time, &left_out);
                let head = Head {
                    time: &time,
                    metadata,
                };
                self.0.format.event(&mut text, &head, event);
                // One write for a line, so that those of two threads do not mix.
                (self.0.out)(text.as_bytes());
            }
        }
    }
}

fn now() -> String {
    Timestamp::from(SystemTime::now()).to_string()
}

/// A hash of what the event says it is about.
fn subject(event: &Event<'_>) -> u64 {
    struct Subject(DefaultHasher);
    impl fmt::Write for Subject {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    impl Visit for Subject {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if SUBJECTS.contains(&field.name()) {
                let _ = write!(self, "{}={value:?};", field.name());
            }
        }
    }
    let mut subject = Subject(DefaultHasher::new());
    event.record(&mut subject);
    subject.0.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn logged(format: Format, relayed: &str, work: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = written.clone();
        let lines = Lines::to(format, vec![relayed.to_owned()], move |line| {
            sink.lock().unwrap().extend_from_slice(line);
        });
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        tracing::subscriber::with_default(subscriber, work);
        lines.finish();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        // The first word of a line of text is the time.
        text
    }

    const TEXT: Format = Format::Text { colours: false };

    fn without_time(text: &str) -> Vec<&str> {
        let lines = text.lines();
        lines
            .map(|line| line.split_once(' ').unwrap().1.trim_start())
            .collect()
    }

    #[test]
    fn a_line_has_level_place_message_and_fields() {
        let text = logged(TEXT, "", || {
            tracing::info!(node = "a", count = 3, ratio = 0.5, ok = true, shown = %"b c", "it stands");
            tracing::error!(r#type = ?Some(1), "text");
        });
        assert_eq!(
            without_time(&text),
            [
                r#"INFO longshore_process::logs::layer::tests: it stands node="a" count=3 ratio=0.5 ok=true shown=b c"#,
                "ERROR longshore_process::logs::layer::tests: text type=Some(1)",
            ]
        );
    }

    #[test]
    fn foreign_text_forges_no_line_and_moves_no_cursor() {
        let foreign = "x\u{1b}[2J\n2024-01-01T00:00:00Z  INFO all is well\u{9b}1m\u{202e}\"\\";
        let work =
            || tracing::warn!(quoted = foreign, shown = %foreign, debug = ?foreign, "{foreign}");
        let text = logged(TEXT, "", work);
        let json = logged(Format::Json, "", work);
        for log in [&text, &json] {
            assert_eq!(log.lines().count(), 1, "{log}");
            let acting = log.trim_end().chars().find(|c| crate::printable::acts(*c));
            assert_eq!(acting, None, "{log}");
        }
        assert!(text.contains(r"shown=x\u{1b}[2J\n2024-01-01"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["level"], "WARN");
        for field in ["message", "quoted", "shown"] {
            // JSON has signs for all of it, so that a program reads what was said.
            assert_eq!(json["fields"][field], foreign);
        }
    }

    #[test]
    fn json_has_numbers_as_numbers() {
        let json = logged(Format::Json, "", || {
            tracing::info!(count = 3, minus = -1, ok = true, odd = f64::NAN, "said");
        });
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let fields = serde_json::json!({
            "message": "said", "count": 3, "minus": -1, "ok": true, "odd": "NaN"
        });
        assert_eq!(json["fields"], fields);
        assert_eq!(json["target"], "longshore_process::logs::layer::tests");
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let text = logged(TEXT, "", || {
            for id in 0..5000 {
                tracing::warn!(id, "client refused");
                if id % 1000 == 0 {
                    tracing::error!(device = id, "device does not answer");
                }
            }
        });
        let lines = without_time(&text);
        let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        assert_eq!(of("device does not answer"), 5);
        // A slow machine may earn a line a second more.
        assert!((11..30).contains(&of("client refused")), "{text}");
        let last = lines.last().unwrap();
        assert!(
            last.contains("lines like this were left out left_out=49"),
            "{last}"
        );
        assert!(last.ends_with(r#"like="client refused""#), "{last}");
    }

    #[test]
    fn what_is_bounded_at_its_source_has_more_room() {
        let here = "longshore_process::logs::layer::tests";
        let text = logged(TEXT, here, || {
            for line in 0..100 {
                tracing::warn!(mapper = "modbus", "printed {line}");
            }
        });
        assert_eq!(text.lines().count(), 100);
    }
}
