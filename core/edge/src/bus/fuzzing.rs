//! Ways in for tests/fuzz: what clients of the bus ask for.

use super::{calls, kubeedge};

/// A message that somebody published. Whatever it holds, a topic of requests is a
/// request, and its answer goes to a topic that the edge alone may publish on. Gives
/// whether it is one.
pub fn request(topic: &str, payload: &[u8]) -> bool {
    let asked = kubeedge::parse(topic, payload);
    assert_eq!(asked.is_some(), kubeedge::is_request(topic), "{topic}");
    let call = calls::parse(topic, payload);
    assert_eq!(call.is_some(), calls::is_request(topic), "{topic}");
    let is_request = asked.is_some() || call.is_some();
    if is_request {
        assert!(!kubeedge::is_edge_topic(topic), "asked on {topic}");
    }
    if let Some(request) = asked {
        if let kubeedge::Request::Update {
            updates: Ok(updates),
            ..
        } = &request
        {
            assert!(!updates.is_empty(), "an update of nothing");
            for update in updates {
                let some = update.expected.is_some() || update.actual.is_some();
                assert!(some, "{update:?} says nothing");
            }
        }
        let (answer, _) = kubeedge::answer_to(request);
        let answer = answer.to_string();
        assert!(kubeedge::is_edge_topic(&answer), "answered on {answer}");
    }
    if let Some(call) = call {
        let answer = call.answer_to();
        assert!(!calls::is_request(&answer), "an answer that is a call");
        let below = format!("longshore/{}/", call.device);
        assert!(answer.starts_with(&below), "answered on {answer}");
    }
    is_request
}
