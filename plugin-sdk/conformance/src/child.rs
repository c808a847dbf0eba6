//! The process in which one rule is judged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use longshore_host::{Descriptor, bare::Bare, inspect};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    devices::Devices,
    report::Verdict,
    rules::{self, Finding},
    subject::{Source, Subject},
    writes::{self, Ending, Journal, Writes, Written},
};

/// The variable with the request; nobody else sets it.
pub(crate) const VARIABLE: &str = "LONGSHORE_CONFORMANCE_REQUEST";

/// Which rule to judge, on whom, and where to put the verdict.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) rule: String,
    /// Nothing for a linked mapper.
    pub(crate) file: Option<PathBuf>,
    pub(crate) devices: Vec<Value>,
    pub(crate) writes: Writes,
    /// Where it is noted what is written.
    pub(crate) journal: PathBuf,
    /// In place of a rule: what is to be put back.
    pub(crate) put_back: Vec<Written>,
    pub(crate) answer: PathBuf,
}

/// The verdict.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
    /// Of each point that was to be put back.
    #[serde(default)]
    pub(crate) endings: Vec<Ending>,
}

/// What a rule may look at.
pub(crate) struct Context {
    pub(crate) mapper: Bare,
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) devices: Devices,
    pub(crate) writes: Writes,
    pub(crate) journal: Journal,
}

impl Context {
    /// Whether the descriptor states a capability; nobody knows of a mapper
    /// that is linked.
    pub(crate) fn states(&self, capability: u64) -> Option<bool> {
        let descriptor = self.descriptor.as_ref()?;
        Some(descriptor.capabilities & capability != 0)
    }
}

/// Judges one rule and ends the process, if this process was started for that.
/// Returns at once otherwise. Stands first in the `main` of a program that
/// calls [`crate::check`].
pub fn run_if_asked() {
    run_if_asked_about(None);
}

pub(crate) fn run_if_asked_about(subject: Option<&Subject>) {
    let Some(text) = std::env::var_os(VARIABLE) else {
        return;
    };
    let Ok(request) = serde_json::from_str::<Request>(&text.to_string_lossy()) else {
        return;
    };
    let linked = match subject.map(|subject| &subject.source) {
        Some(Source::Linked(api)) => Some(*api),
        _ => None,
    };
    if request.file.is_none() && linked.is_none() {
        // A linked mapper: only the call that names it knows it.
        return;
    }
    let linked = linked.map(Bare::linked);
    let (finding, endings) = if request.put_back.is_empty() {
        (judge(&request, linked), Vec::new())
    } else {
        match context(&request, linked) {
            Ok(context) => (Ok(()), writes::put_back(&context, &request.put_back)),
            Err(finding) => (Err(finding), Vec::new()),
        }
    };
    let (verdict, why) = match finding {
        Ok(()) => (Verdict::Kept, String::new()),
        Err(Finding::Broken(why)) => (Verdict::Broken, why),
        Err(Finding::NotJudged(why)) => (Verdict::NotJudged, why),
    };
    let answer = Answer {
        verdict,
        why,
        endings,
    };
    let written = fs::write(
        &request.answer,
        serde_json::to_vec(&answer).unwrap_or_default(),
    );
    // The instance is not ended: how it ends is the matter of other rules.
    std::process::exit(i32::from(written.is_err()));
}

fn judge(request: &Request, linked: Option<Bare>) -> Result<(), Finding> {
    let rule = rules::find(&request.rule)
        .ok_or_else(|| Finding::NotJudged(format!("there is no rule `{}`", request.rule)))?;
    match rule.judge {
        rules::Judge::File(judge) => match &request.file {
            Some(file) => judge(file),
            None => Err(Finding::NotJudged("a linked mapper has no file".to_owned())),
        },
        rules::Judge::Mapper(judge) => judge(&context(request, linked)?),
    }
}

fn context(request: &Request, linked: Option<Bare>) -> Result<Context, Finding> {
    let descriptor = request.file.as_deref().map(inspect).transpose();
    let descriptor = descriptor.map_err(|error| Finding::NotJudged(error.to_string()))?;
    let mapper = match (linked, &request.file) {
        (_, Some(file)) => load(file)?,
        (Some(mapper), None) => mapper,
        (None, None) => return Err(Finding::NotJudged("nothing to judge".to_owned())),
    };
    let schema = descriptor
        .as_ref()
        .and_then(|descriptor| descriptor.schema.as_deref());
    Ok(Context {
        mapper,
        devices: Devices::new(&request.devices, schema),
        descriptor,
        writes: request.writes,
        journal: Journal::new(request.journal.clone()),
    })
}

fn load(file: &Path) -> Result<Bare, Finding> {
    Bare::load(file).map_err(|error| {
        Finding::NotJudged(format!("{error}; see the rule `{}`", rules::TABLE_RULE))
    })
}
