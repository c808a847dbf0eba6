//! Calls of methods over MQTT: `longshore/{ns}/{device}/call/{method}`.

use longshore_twin::UpdateError;
use longshore_types::{DeviceName, Topic};
use serde_json::{Map, Value as Json, json};

/// The topic filter of calls.
pub(super) const FILTER: &str = "longshore/+/+/call/+";

/// A call as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) device: DeviceName,
    pub(super) method: String,
    /// As the caller gave it, so that the answer can be told from others.
    id: Json,
    response_topic: Option<String>,
    /// The arguments, or what is wrong with the payload.
    pub(super) request: Result<Json, String>,
}

/// Whether a topic is one of calls.
pub(super) fn is_request(topic: &str) -> bool {
    topic.starts_with("longshore/") && matches!(topic.parse(), Ok(Topic::Call { .. }))
}

/// Understands a call; `None` when the topic is another one. An empty payload
/// is a call without arguments.
pub(super) fn parse(topic: &str, payload: &[u8]) -> Option<Call> {
    let Ok(Topic::Call { device, method }) = topic.parse() else {
        return None;
    };
    let mut call = Call {
        device,
        method: method.into(),
        id: Json::Null,
        response_topic: None,
        request: Ok(Json::Null),
    };
    if payload.is_empty() {
        return Some(call);
    }
    call.request = match serde_json::from_slice::<Map<String, Json>>(payload) {
        Ok(mut body) => {
            call.id = body.remove("id").unwrap_or_default();
            let topic = body.remove("responseTopic");
            let arguments = body.remove("arguments").unwrap_or_default();
            // A misspelt `arguments` would be a call with the defaults.
            let known = || match body.keys().next() {
                None => Ok(arguments),
                Some(field) => Err(format!(
                    "{field}: unknown field, expected id, arguments or responseTopic"
                )),
            };
            call.respond_to(topic).and_then(|()| known())
        }
        Err(error) => Err(format!(
            "expected {{\"id\": \"…\", \"arguments\": {{…}}}}: {error}"
        )),
    };
    Some(call)
}

/// A call that was not begun.
pub(super) fn refused(reason: String) -> UpdateError {
    UpdateError { code: 400, reason }
}

impl Call {
    fn respond_to(&mut self, topic: Option<Json>) -> Result<(), String> {
        let Some(topic) = topic.filter(|topic| !topic.is_null()) else {
            return Ok(());
        };
        let below = format!("longshore/{}/", self.device);
        // An answer is no call, and what the edge itself says stays its own.
        let topic = topic.as_str().filter(|topic| {
            let own = matches!(
                topic.parse(),
                Ok(Topic::Call { .. } | Topic::Batch(_) | Topic::Event { .. })
            );
            topic.starts_with(&below) && !topic.contains(['+', '#', '\0']) && !own
        });
        match topic {
            Some(topic) => {
                self.response_topic = Some(topic.to_owned());
                Ok(())
            }
            None => Err(format!(
                "responseTopic: expected a topic below {below} that is neither a call nor the edge's own"
            )),
        }
    }

    /// Where the answer goes.
    pub(super) fn answer_to(&self) -> String {
        let result = || Topic::CallResult {
            device: self.device.clone(),
            method: self.method.as_str().into(),
        };
        self.response_topic
            .clone()
            .unwrap_or_else(|| result().to_string())
    }

    /// The answer: done, refused, or (for an error with the code 504) unknown,
    /// since something went out and nobody knows what became of it.
    pub(super) fn answer(&self, result: Result<Json, UpdateError>) -> Vec<u8> {
        let answer = match result {
            Ok(result) => json!({"id": self.id, "ok": true, "outcome": "done", "result": result}),
            Err(UpdateError { code, reason }) => {
                let outcome = if code == 504 { "unknown" } else { "refused" };
                json!({"id": self.id, "ok": false, "outcome": outcome, "error": reason})
            }
        };
        answer.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "longshore/default/pump/call/fill";

    #[test]
    fn a_call_is_understood_and_answered_where_its_caller_listens() {
        let call = parse(TOPIC, br#"{"id": "a7", "arguments": {"to": 4}}"#).unwrap();
        assert_eq!(call.request, Ok(json!({"to": 4})));
        assert_eq!(call.answer_to(), "longshore/default/pump/call/fill/result");
        let answer: Json = serde_json::from_slice(&call.answer(Ok(json!({"level": 4})))).unwrap();
        assert_eq!(
            answer,
            json!({"id": "a7", "ok": true, "outcome": "done", "result": {"level": 4}})
        );
        for (code, outcome) in [(502, "refused"), (503, "refused"), (504, "unknown")] {
            let reason = "no answer".to_owned();
            let error = UpdateError { code, reason };
            let answer: Json = serde_json::from_slice(&call.answer(Err(error))).unwrap();
            assert_eq!(
                answer,
                json!({"id": "a7", "ok": false, "outcome": outcome, "error": "no answer"})
            );
        }
        let call = parse(
            TOPIC,
            br#"{"responseTopic": "longshore/default/pump/mine"}"#,
        )
        .unwrap();
        assert_eq!(call.answer_to(), "longshore/default/pump/mine");
        assert_eq!(parse(TOPIC, b"").unwrap().request, Ok(Json::Null));
        assert!(is_request(TOPIC) && !is_request("longshore/default/pump/call/fill/result"));
        assert_eq!(parse("longshore/default/pump/batch", b"{}"), None);
    }

    #[test]
    fn a_wrong_call_is_answered_where_answers_are_expected() {
        for payload in [
            r#"{"responseTopic": "elsewhere"}"#,
            r#"{"responseTopic": "longshore/default/pump/#"}"#,
            r#"{"responseTopic": "longshore/default/pump/call/fill"}"#,
            r#"{"responseTopic": "longshore/default/pump/batch"}"#,
            r#"{"responseTopic": 7}"#,
            r#"{"argument": {"to": 4}}"#,
            "[1]",
            "nonsense",
        ] {
            let call = parse(TOPIC, payload.as_bytes()).unwrap();
            assert!(call.request.is_err(), "{payload}");
            assert_eq!(call.answer_to(), "longshore/default/pump/call/fill/result");
        }
    }
}
