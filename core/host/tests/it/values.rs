//! Values go to a mapper and come back, whatever language it is written in
//! and wherever it runs.

use std::time::Duration;

use longshore_host::{
    CommandKind, HostOptions, Isolation, MapperEvent, MapperState, Status, SubmitError,
};
use longshore_types::{Quality, Value};
use serde_json::json;

use super::support::{BOTH, Run, c_library, minimal_rust, options};

#[tokio::test]
async fn a_call_and_a_search_bring_texts_of_megabytes() {
    for isolation in BOTH {
        let mut run = Run::bad(isolation, "nothing");
        run.up().await;
        let long = format!("[\"{}\"]", "x".repeat(3_500_000));
        for (kind, token, text) in [
            (
                CommandKind::Call("{\"name\": \"start\"}".to_owned()),
                1,
                "{\"name\": \"start\"}",
            ),
            (CommandKind::Discover("{}".to_owned()), 2, "{}"),
            (CommandKind::Discover(long.clone()), 3, long.as_str()),
        ] {
            run.submit(token, kind);
            let (status, message) = run.completion(token).await;
            assert_eq!(status, Status::Ok);
            assert!(message == text, "{} bytes came back", message.len());
        }
        run.stop().await;
    }
}

#[tokio::test]
async fn every_type_comes_back_as_it_went() {
    for isolation in BOTH {
        let mut run = Run::bad(isolation, "nothing");
        assert_eq!(run.up().await, 1);
        let values = [
            Value::Bool(true),
            Value::Int(-5),
            Value::Uint(u64::MAX),
            Value::Float(21.5),
            Value::String("wärm".into()),
            Value::String("".into()),
            Value::Bytes([0, 255].into()),
            Value::String("x".repeat(300_000).into()),
        ];
        for (value, token) in values.into_iter().zip(1..) {
            run.submit(
                token,
                CommandKind::Write {
                    point: 9,
                    value: value.clone(),
                },
            );
            let batch = run
                .event("the sample", |event| match event {
                    MapperEvent::Batch { batch, .. } => Some(batch.clone()),
                    _ => None,
                })
                .await;
            let sample = batch.samples().next().expect("a sample for each write");
            assert_eq!(
                (sample.point, sample.quality, sample.source_time_ns),
                (9, Quality::Good, 1)
            );
            assert_eq!(sample.value.map(|value| value.to_value()), Some(value));
            assert_eq!(
                batch
                    .completions()
                    .next()
                    .expect("a completion for each write")
                    .token,
                token
            );
        }
        run.submit(100, CommandKind::Remove);
        assert_eq!(
            run.completion(100).await,
            (Status::Refused, "no removing here".to_owned())
        );
        run.stop().await;
        assert_eq!(&*run.down().await, "stopped");
        assert!(run.events.recv().await.is_none());
        assert_eq!(run.mapper.submit(Vec::new()), Err(SubmitError::Down));
        let stats = run.mapper.stats();
        assert_eq!(
            (
                stats.restarts,
                stats.faults,
                stats.samples,
                stats.completions
            ),
            (0, 0, 8, 9)
        );
    }
}

#[tokio::test]
async fn ten_thousand_commands_at_once_all_end() {
    for isolation in BOTH {
        let mut run = Run::bad(isolation, "nothing");
        run.up().await;
        let configuration = "x".repeat(1000);
        let commands = (0..10_000).map(|token| longshore_host::Command {
            token,
            device: token as u32,
            budget: Duration::from_secs(20),
            kind: CommandKind::Configure(configuration.clone()),
        });
        run.mapper
            .submit(commands.collect())
            .expect("the mapper is up");
        let mut open = 10_000;
        while open > 0 {
            open -= run
                .event("completions", |event| match event {
                    MapperEvent::Batch { batch, .. } => Some(batch.completion_count()),
                    _ => None,
                })
                .await;
        }
        run.stop().await;
    }
}

#[tokio::test]
async fn the_minimal_mappers_count() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let c = c_library(
        folder.path(),
        "plugin-sdk/examples/minimal-c/counter.c",
        &[],
    );
    for (file, name) in [(c, "minimal-c"), (minimal_rust(), "minimal")] {
        for isolation in BOTH {
            let mut run = Run::start(file.clone(), isolation, json!({}), options());
            let descriptor = run.mapper.descriptor().expect("a mapper");
            assert_eq!(
                (descriptor.name.as_str(), descriptor.protocol.as_str()),
                (name, "counter")
            );
            run.up().await;
            run.submit(1, CommandKind::Configure("{}".to_owned()));
            assert_eq!(run.completion(1).await.0, Status::Ok);
            run.submit(
                2,
                CommandKind::Write {
                    point: 7,
                    value: Value::Int(41),
                },
            );
            assert_eq!(run.completion(2).await.0, Status::Ok);
            run.submit(
                3,
                CommandKind::Write {
                    point: 7,
                    value: Value::Bool(true),
                },
            );
            assert_eq!(
                run.completion(3).await,
                (
                    Status::InvalidArgument,
                    "a counter takes a signed integer".to_owned()
                )
            );
            run.submit(4, CommandKind::Read { point: 7 });
            let value = run
                .event("the reading", |event| match event {
                    MapperEvent::Batch { batch, .. } => batch
                        .samples()
                        .next()
                        .and_then(|sample| sample.value.map(|value| value.to_value())),
                    _ => None,
                })
                .await;
            assert_eq!(value, Value::Int(42));
            run.stop().await;
            assert_eq!(&*run.down().await, "stopped");
        }
    }
}

#[tokio::test]
async fn an_idle_mapper_is_pinged_and_left_alone() {
    let options = HostOptions {
        ping_interval: Duration::from_millis(5),
        ..options()
    };
    let mut run = Run::bad_with(Isolation::Process, json!({}), options);
    run.up().await;
    for token in 0..50 {
        run.answers(token).await;
    }
    assert!(matches!(
        *run.mapper.state().borrow(),
        MapperState::Running { generation: 1, .. }
    ));
}
