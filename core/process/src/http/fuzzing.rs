//! Ways in for tests/fuzz: the head of a request, and an answer.

use super::{client, server::Request};

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
        let head = data.windows(2).position(|two| two == b"\n\n");
        let head = head.map(|at| at + 2);
        let long = data.windows(4).position(|four| four == b"\r\n\r\n");
        let end = head.into_iter().chain(long.map(|at| at + 4)).max();
        if let Some(end) = end.filter(|end| *end < data.len()) {
            let cut = Request::parse(&data[..end]);
            assert!(matches!(&cut, Ok(Some(cut)) if cut == request), "{cut:?}");
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
