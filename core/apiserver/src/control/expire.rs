//! Events do not stay: an hour after an event was seen last it goes.

use std::sync::Arc;

use serde_json::Value;

use super::contents;
use crate::rest::Api;
use crate::rest::delete::{Options, delete};
use crate::rest::status::ApiError;
use crate::time;
use longshore_objects::Key;

/// How long an event stays, as with the real server.
const EVENT_SECONDS: i64 = 3600;

/// When an event was touched last, in seconds since 1970.
fn last_seen(event: &Value) -> Option<i64> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times
        .into_iter()
        .filter_map(|value| time::parse(value.as_str()?))
        .max()
}

/// Whether an event has outlived its time at `now`.
fn is_old(event: &Value, now: i64) -> bool {
    last_seen(event).is_some_and(|seen| now - seen > EVENT_SECONDS)
}

/// Deletes the events that have outlived their time.
pub(super) async fn events(api: &Arc<Api>) -> Result<(), ApiError> {
    let Some(resource) = api.registry().find("", "v1", "events") else {
        return Ok(());
    };
    let now = time::now_seconds();
    for record in contents::all(api, &resource.storage).await? {
        if !is_old(&record.object(), now) {
            continue;
        }
        let key = Key {
            resource: resource.storage.clone(),
            namespace: record.namespace,
            name: record.name,
        };
        match delete(api, &resource, key, &Options::default()).await {
            Err(error) if error.code() != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_lives_from_its_last_sighting() {
        let event = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "eventTime": null,
            "lastTimestamp": "2026-01-01T02:00:00Z", "series": {"lastObservedTime": "2026-01-01T05:00:00.000000Z"}});
        let seen = time::parse("2026-01-01T05:00:00Z").expect("a time");
        assert!(!is_old(&event, seen + EVENT_SECONDS));
        assert!(is_old(&event, seen + EVENT_SECONDS + 1));
        assert!(!is_old(&json!({}), seen));
    }
}
