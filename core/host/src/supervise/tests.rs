use super::*;

const PATIENCE: Patience = Patience {
    start: Duration::from_secs(10),
    backoff_first: Duration::from_millis(100),
    backoff_most: Duration::from_secs(1),
    stable: Duration::from_secs(10),
    stop_grace: Duration::from_secs(1),
    look_again: Duration::from_secs(2),
    killable: true,
    trial: Duration::from_secs(10),
    replace: Duration::from_millis(500),
};

fn running(patience: Patience, now: Instant) -> Supervisor {
    let mut supervisor = Supervisor::new(patience, now, 7);
    assert_eq!(supervisor.step(Input::Tick, now), [Effect::Spawn]);
    assert_eq!(supervisor.step(Input::Ready, now), [Effect::Up]);
    supervisor
}

#[test]
fn comes_back_at_once_and_then_within_a_second() {
    let mut now = Instant::now();
    let mut supervisor = running(PATIENCE, now);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let effects = supervisor.step(Input::Gone("signal 6".into()), now);
        assert_eq!(effects, [Effect::Discard, Effect::Down("signal 6".into())]);
        let until = supervisor.deadline().expect("waiting");
        pauses.push(until - now);
        assert_eq!(supervisor.step(Input::Tick, until), [Effect::Spawn]);
        assert_eq!(supervisor.step(Input::Ready, until), [Effect::Up]);
        now = until;
    }
    assert_eq!(pauses[0], Duration::ZERO);
    assert!(
        pauses[1] >= Duration::from_millis(50) && pauses[1] <= Duration::from_millis(100),
        "{pauses:?}"
    );
    assert!(
        pauses.iter().all(|pause| *pause <= Duration::from_secs(1)),
        "{pauses:?}"
    );
    assert!(pauses[11] >= Duration::from_millis(500), "{pauses:?}");

    // After a quiet while the row is forgotten.
    now += PATIENCE.stable;
    supervisor.step(Input::Gone("signal 6".into()), now);
    assert_eq!(supervisor.deadline(), Some(now));
}

#[test]
fn a_start_that_hangs_is_killed_and_one_that_is_refused_waits_for_another_file() {
    let now = Instant::now();
    let mut supervisor = Supervisor::new(PATIENCE, now, 7);
    supervisor.step(Input::Tick, now);
    let deadline = supervisor.deadline().expect("starting");
    assert_eq!(supervisor.step(Input::Tick, deadline), [Effect::Discard]);
    assert_eq!(
        supervisor.reason.as_deref(),
        Some("did not start within 10 s")
    );
    supervisor.step(Input::Tick, deadline);
    assert_eq!(
        supervisor.step(Input::Refused("no".into()), deadline),
        [Effect::Discard]
    );
    assert_eq!(supervisor.reason.as_deref(), Some("no"));
    assert_eq!(supervisor.step(Input::Tick, deadline), []);
    let look = supervisor.deadline().expect("looks again");
    assert_eq!(look, deadline + PATIENCE.look_again);
    assert_eq!(supervisor.step(Input::Tick, look), [Effect::Look]);
    assert_eq!(supervisor.step(Input::Replaced, look), [Effect::Spawn]);
    assert_eq!(supervisor.step(Input::Ready, look), [Effect::Up]);
    assert_eq!(supervisor.reason, None);
}

#[test]
fn what_cannot_be_killed_is_given_up() {
    let now = Instant::now();
    let mut supervisor = running(
        Patience {
            killable: false,
            ..PATIENCE
        },
        now,
    );
    let effects = supervisor.step(Input::Hung("silent".into()), now);
    assert!(matches!(
        effects.as_slice(),
        [Effect::Discard, Effect::Down(_)]
    ));
    assert!(matches!(supervisor.state, State::Ended { failed: Some(_) }));
}

/// Two editions, and what is true of them after each effect.
#[derive(Debug, Default)]
struct Model {
    spawned: bool,
    up: bool,
    candidate: bool,
    /// A former edition is kept.
    fallback: bool,
}

impl Model {
    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Spawn => {
                assert!(!std::mem::replace(&mut self.spawned, true), "two at once");
            }
            Effect::Discard => self.spawned = false,
            Effect::Look => assert!(!self.spawned, "it runs"),
            Effect::Up => {
                assert!(
                    self.spawned && !std::mem::replace(&mut self.up, true),
                    "up twice"
                );
            }
            Effect::Down(_) | Effect::HandOver(_) => {
                assert!(std::mem::replace(&mut self.up, false), "down without up");
            }
            Effect::AskStop(_) => assert!(self.spawned && self.up, "nobody to ask"),
            Effect::SpawnCandidate => {
                assert!(self.up, "beside nothing");
                assert!(!std::mem::replace(&mut self.candidate, true), "two");
            }
            Effect::DiscardCandidate => {
                assert!(std::mem::replace(&mut self.candidate, false), "none");
            }
            Effect::Promote => {
                assert!(std::mem::replace(&mut self.candidate, false), "none");
                assert!(
                    !std::mem::replace(&mut self.spawned, true),
                    "the old one lives"
                );
                self.fallback = true;
            }
            Effect::Refuse(_) => assert!(self.up, "the old one runs on"),
            Effect::RollBack(_) => {
                assert!(!self.spawned && !self.up && self.fallback, "{self:?}");
                self.fallback = false;
            }
            Effect::Settle => self.fallback = false,
        }
    }
}

#[test]
fn no_order_of_inputs_breaks_the_pairs() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut seen = [0; 3];
    for round in 0..4000 {
        let mut now = Instant::now();
        let mut supervisor = Supervisor::new(
            Patience {
                killable: round % 2 == 0,
                ..PATIENCE
            },
            now,
            round,
        );
        let mut model = Model::default();
        for _ in 0..60 {
            now += Duration::from_millis(random.u64(0..3000));
            let input = match random.u8(0..30) {
                0..10 => Input::Tick,
                10..15 => Input::Ready,
                15 => Input::Refused("refused".into()),
                16 => Input::Gone("gone".into()),
                17 => Input::Hung("hung".into()),
                18 if round % 3 == 0 => Input::Replaced,
                18..20 => Input::Stopped,
                20..23 => Input::Candidate,
                23..26 => Input::CandidateReady,
                26 => Input::CandidateFailed("no".into()),
                27 => Input::Unfit("refuses".into()),
                28 => Input::Gone("gone".into()),
                _ => Input::Stop(Duration::from_secs(1)),
            };
            for effect in supervisor.step(input, now) {
                model.apply(&effect);
                match effect {
                    Effect::Promote => seen[0] += 1,
                    Effect::RollBack(_) => seen[1] += 1,
                    Effect::Settle => seen[2] += 1,
                    _ => {}
                }
            }
            let alive = matches!(
                supervisor.state,
                State::Running { .. } | State::Replacing { .. } | State::Stopping { .. }
            );
            assert_eq!(model.up, alive, "{:?}", supervisor.state);
            let starting = matches!(supervisor.state, State::Starting { .. });
            assert_eq!(model.spawned, alive || starting);
            assert_eq!(model.candidate, supervisor.candidate.is_some());
            assert_eq!(model.fallback, supervisor.has_way_back());
        }
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}

#[test]
fn another_edition_takes_over_and_one_that_fails_is_rolled_back() {
    let now = Instant::now();
    let mut supervisor = running(PATIENCE, now);
    assert_eq!(
        supervisor.step(Input::Candidate, now),
        [Effect::SpawnCandidate]
    );
    assert_eq!(
        supervisor.step(Input::CandidateReady, now),
        [Effect::AskStop(PATIENCE.replace)]
    );
    let effects = supervisor.step(Input::Stopped, now);
    assert!(
        matches!(
            effects.as_slice(),
            [
                Effect::Discard,
                Effect::HandOver(_),
                Effect::Promote,
                Effect::Up
            ]
        ),
        "{effects:?}"
    );
    let later = now + PATIENCE.trial - Duration::from_millis(1);
    assert_eq!(supervisor.step(Input::Tick, later), []);
    let effects = supervisor.step(Input::Gone("signal 6".into()), later);
    assert_eq!(
        effects,
        [
            Effect::Discard,
            Effect::Down("signal 6".into()),
            Effect::RollBack("signal 6".into())
        ]
    );
    assert_eq!(supervisor.step(Input::Tick, later), [Effect::Spawn]);
}

#[test]
fn an_edition_that_lives_has_proved_itself() {
    let now = Instant::now();
    let mut supervisor = running(PATIENCE, now);
    supervisor.step(Input::Candidate, now);
    supervisor.step(Input::CandidateReady, now);
    // The old one does not stop; it is killed.
    let at = supervisor.deadline().expect("the old one has to go");
    assert_eq!(at, now + PATIENCE.replace + PATIENCE.stop_grace);
    assert!(supervisor.step(Input::Tick, at).contains(&Effect::Promote));
    let until = supervisor.deadline().expect("on trial");
    assert_eq!(until, at + PATIENCE.trial);
    assert_eq!(supervisor.step(Input::Tick, until), [Effect::Settle]);
    let effects = supervisor.step(Input::Gone("signal 6".into()), until);
    assert_eq!(effects, [Effect::Discard, Effect::Down("signal 6".into())]);
}

#[test]
fn a_candidate_that_does_not_start_costs_nothing() {
    let now = Instant::now();
    let mut supervisor = running(PATIENCE, now);
    supervisor.step(Input::Candidate, now);
    let at = supervisor.deadline().expect("the candidate has to start");
    assert_eq!(
        supervisor.step(Input::Tick, at),
        [
            Effect::DiscardCandidate,
            Effect::Refuse("did not start within 10 s".into())
        ]
    );
    assert!(matches!(supervisor.state, State::Running { .. }));
    // Ready, and lost while the old one stops: the old one is started again.
    supervisor.step(Input::Candidate, at);
    supervisor.step(Input::CandidateReady, at);
    supervisor.step(Input::CandidateFailed("signal 9".into()), at);
    let effects = supervisor.step(Input::Stopped, at);
    assert!(matches!(
        effects.as_slice(),
        [Effect::Discard, Effect::Down(_)]
    ));
    assert_eq!(supervisor.step(Input::Tick, at), [Effect::Spawn]);
}

#[test]
fn stops_in_time_or_is_killed() {
    let (now, budget) = (Instant::now(), Duration::from_secs(2));
    for (input, at) in [
        (Input::Stopped, now),
        (Input::Gone("exit".into()), now),
        (Input::Tick, now + Duration::from_secs(3)),
    ] {
        let mut supervisor = running(PATIENCE, now);
        assert_eq!(
            supervisor.step(Input::Stop(budget), now),
            [Effect::AskStop(budget)]
        );
        assert_eq!(supervisor.step(Input::Tick, now + budget), []);
        assert!(matches!(
            supervisor.step(input, at).as_slice(),
            [Effect::Discard, Effect::Down(_)]
        ));
        assert_eq!(supervisor.state, State::Ended { failed: None });
    }
}
