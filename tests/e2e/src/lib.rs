//! Nothing: the stories are in `tests/e2e`, one binary, a module per story.
