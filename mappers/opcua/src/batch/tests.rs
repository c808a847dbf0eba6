//! Servers that refuse, by the number of what they were asked.

use std::sync::Mutex;

use opcua::types::StatusCode;
use proptest::prelude::*;

use super::*;

fn service(status: StatusCode) -> WireError {
    WireError::Service {
        service: "Read",
        status,
    }
}

/// Asks a server that takes `most` operations and none of `bad`; gives the sizes of
/// what it was asked too.
async fn ask(
    bound: &Bound,
    items: &[u32],
    most: usize,
    bad: &[u32],
    status: StatusCode,
) -> (Result<Vec<Option<u32>>, WireError>, Vec<usize>) {
    let sizes = Mutex::new(Vec::new());
    let turns = Turns::default();
    let asked = |chunk: Vec<u32>| {
        sizes.lock().unwrap().push(chunk.len());
        let is_refused = chunk.len() > most || chunk.iter().any(|item| bad.contains(item));
        async move {
            match is_refused {
                true => Err(service(status)),
                false => Ok(chunk),
            }
        }
    };
    let all = ask_all(bound, &turns, items, asked).await;
    let all = all.map(|all| all.into_iter().map(Result::ok).collect());
    (all, sizes.into_inner().unwrap())
}

#[tokio::test]
async fn a_bound_that_nobody_told_is_found_and_remembered() {
    let items: Vec<u32> = (0..250).collect();
    let whole: Vec<_> = items.iter().copied().map(Some).collect();
    let bound = Bound::new(1000);
    let (all, _) = ask(&bound, &items, 100, &[], StatusCode::BadTooManyOperations).await;
    assert_eq!(all, Ok(whole.clone()));
    assert!((51..=100).contains(&bound.get()), "{bound:?}");
    // The next time nothing is refused.
    let (all, sizes) = ask(&bound, &items, 100, &[], StatusCode::BadTooManyOperations).await;
    assert_eq!(all, Ok(whole));
    assert_eq!(sizes.iter().sum::<usize>(), 250);
}

#[tokio::test]
async fn one_that_spoils_the_request_is_found_and_costs_no_bound() {
    let items: Vec<u32> = (0..1000).collect();
    let bound = Bound::new(1000);
    let (all, sizes) = ask(&bound, &items, 1000, &[777], StatusCode::BadInternalError).await;
    let all = all.expect("answered");
    assert_eq!(all.iter().filter(|one| one.is_none()).count(), 1);
    assert_eq!(all[777], None);
    assert_eq!(bound.get(), 1000);
    assert!(sizes.len() < 30, "{sizes:?}");
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_not_asked_for_each() {
    let items: Vec<u32> = (0..1000).collect();
    let bound = Bound::new(1000);
    let (all, sizes) = ask(&bound, &items, 0, &[], StatusCode::BadInternalError).await;
    assert_eq!(all, Err(service(StatusCode::BadInternalError)));
    assert!(sizes.len() < 60, "{sizes:?}");
    assert_eq!(bound.get(), 1000);
    // What is no matter of size is not asked in halves.
    let (all, sizes) = ask(&bound, &items, 0, &[], StatusCode::BadSessionIdInvalid).await;
    assert_eq!(all, Err(service(StatusCode::BadSessionIdInvalid)));
    assert_eq!(sizes, [1000]);
}

/// A server that counts what is under way at once.
#[tokio::test]
async fn requests_take_turns_where_the_server_counts_all_of_them() {
    let under_way = std::sync::Arc::new(AtomicUsize::new(0));
    let ask = |chunk: Vec<u32>| {
        let under_way = under_way.clone();
        async move {
            let now = under_way.fetch_add(chunk.len(), Ordering::SeqCst) + chunk.len();
            tokio::task::yield_now().await;
            under_way.fetch_sub(chunk.len(), Ordering::SeqCst);
            match now > 100 {
                true => Err(service(StatusCode::BadTooManyOperations)),
                false => Ok(chunk),
            }
        }
    };
    let items: Vec<u32> = (0..500).collect();
    let (bound, turns) = (Bound::new(100), Turns::default());
    for _ in 0..2 {
        let (first, second) = tokio::join!(
            ask_all(&bound, &turns, &items, ask),
            ask_all(&bound, &turns, &items, ask)
        );
        for all in [first, second] {
            assert!(all.expect("answered").iter().all(Result::is_ok));
        }
    }
}

#[test]
fn what_cannot_be_read_rests_and_what_is_refused_does_not() {
    let apart = Apart::default();
    let now = Instant::now();
    let unreadable = WireError::Unreadable {
        service: "Read",
        message: "a text of 5000000 bytes".to_owned(),
    };
    apart.note(1, &Err::<(), _>(unreadable.clone()), now);
    apart.note(2, &Err::<(), _>(service(StatusCode::BadInternalError)), now);
    assert_eq!(apart.rests(&1, now), Some(unreadable));
    assert_eq!(apart.rests(&1, now + REST), None);
    assert_eq!((apart.rests(&2, now), apart.has(&2)), (None, true));
    apart.note(2, &Ok(()), now);
    assert!(!apart.has(&2));
}

proptest! {
    /// Whatever is refused, each operation has its own result in its own place.
    #[test]
    fn results_are_in_order(
        count in 1_u32..300,
        most in 1_usize..300,
        bad in proptest::collection::vec(0_u32..300, 0..4),
        told in 1_usize..400,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let items: Vec<u32> = (0..count).collect();
        let status = StatusCode::BadResponseTooLarge;
        let (all, _) = runtime.block_on(ask(&Bound::new(told), &items, most, &bad, status));
        if let Ok(all) = all {
            let wanted: Vec<_> = items.iter().map(|item| (!bad.contains(item)).then_some(*item)).collect();
            prop_assert_eq!(all, wanted);
        } else {
            prop_assert!(items.iter().all(|item| bad.contains(item)));
        }
    }
}
