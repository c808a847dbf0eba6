//! Ways in for tests/fuzz: the head of a request, and an answer.

use super::{FIELDS, client, server::Request};

/// A request as it comes, byte by byte: once its head is whole, what follows does not
/// change it. Gives whether there is one.
pub fn request(data: &[u8]) -> bool {
    let whole = Request::parse(data);
    if let Ok(Some(request)) = &whole {
        assert!(request.path().starts_with('/'), "{request:?}");
        assert!(!request.path().contains('?'), "{request:?}");
        for name in ["device", "x", ""] {
            let _ = request.query(name);
        }
    }
    let lines = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    for (end, _) in lines.take(FIELDS) {
        if let Ok(Some(cut)) = Request::parse(&data[..=end]) {
            assert!(
                matches!(&whole, Ok(Some(whole)) if *whole == cut),
                "{whole:?}"
            );
        }
    }
    matches!(whole, Ok(Some(_)))
}

/// What a page answers. Gives its status.
pub fn answer(data: &[u8]) -> Option<u16> {
    let answer = client::parse(data.to_vec()).ok()?;
    assert!(data.ends_with(&answer.body), "a body that was not there");
    Some(answer.status)
}
