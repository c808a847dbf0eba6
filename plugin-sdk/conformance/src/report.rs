//! What came out, for people and for programs.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::rules::Strength;

/// How a rule was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nothing was seen against it.
    Kept,
    /// It was broken.
    Broken,
    /// It was broken, and is one that a mapper only should keep.
    Missed,
    /// It could not be judged; the reason tells why.
    NotJudged,
}

/// A rule and its verdict.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// The rule's name, which stays the same for ever.
    pub rule: &'static str,
    /// Numbers in `plugin-sdk/CONTRACT.md`.
    pub contract: &'static [u8],
    /// The rule in one sentence.
    pub text: &'static str,
    /// Whether it is a MUST or a SHOULD.
    pub strength: Strength,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen; empty if it was kept.
    pub why: String,
    /// What to do about a broken rule.
    pub hint: &'static str,
    /// How long it took.
    pub milliseconds: u64,
}

/// The verdicts on one mapper.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The file, or that it is linked.
    pub subject: String,
    /// Name and version, if the descriptor could be read.
    pub mapper: Option<String>,
    /// Each rule, in the order of the contract's chapters.
    pub rules: Vec<Judged>,
    /// What was written to devices.
    pub written: Vec<Wrote>,
}

/// A point that was written with the value that it had.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wrote {
    /// The device, as it was given.
    pub device: String,
    /// The point's name.
    pub point: String,
    /// How often.
    pub times: usize,
    /// What it had before, and should have now.
    pub value: String,
    /// What was found at the end if that was another value.
    pub found: Option<String>,
    /// Why it does not have its value now.
    pub lost: Option<String>,
}

impl Report {
    /// Whether no rule was broken that a mapper must keep, and each point that
    /// was written has its value again.
    pub fn conforms(&self) -> bool {
        self.broken().next().is_none() && self.written.iter().all(|wrote| wrote.lost.is_none())
    }

    /// The rules that were broken and only should be kept.
    pub fn missed(&self) -> impl Iterator<Item = &Judged> {
        self.with(Verdict::Missed)
    }

    /// The rules that were broken.
    pub fn broken(&self) -> impl Iterator<Item = &Judged> {
        self.with(Verdict::Broken)
    }

    /// The rules that could not be judged.
    pub fn not_judged(&self) -> impl Iterator<Item = &Judged> {
        self.with(Verdict::NotJudged)
    }

    fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Judged> {
        self.rules
            .iter()
            .filter(move |judged| judged.verdict == verdict)
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        // Nothing in a report can fail to be JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapper = self.mapper.as_deref().unwrap_or("no mapper");
        writeln!(f, "{} ({mapper})\n", self.subject)?;
        let width = self
            .rules
            .iter()
            .map(|judged| judged.rule.len())
            .max()
            .unwrap_or(0)
            .max(4);
        writeln!(f, "{:<width$}   CONTRACT     VERDICT", "RULE")?;
        for judged in &self.rules {
            let verdict = match judged.verdict {
                Verdict::Kept => "kept",
                Verdict::Broken => "BROKEN",
                Verdict::Missed => "not kept (SHOULD)",
                Verdict::NotJudged => "not judged",
            };
            let numbers: Vec<_> = judged.contract.iter().map(u8::to_string).collect();
            writeln!(
                f,
                "{:<width$}   {:<10}   {verdict}",
                judged.rule,
                numbers.join(", ")
            )?;
        }
        // Many share one reason.
        let mut reasons = BTreeMap::<&str, Vec<&str>>::new();
        for judged in self.not_judged() {
            reasons.entry(&judged.why).or_default().push(judged.rule);
        }
        for (why, rules) in reasons {
            writeln!(f, "\nnot judged: {}\n  {why}", rules.join(", "))?;
        }
        for judged in self.broken() {
            writeln!(f, "\nbroken: {}\n  rule: {}", judged.rule, judged.text)?;
            writeln!(f, "  seen: {}", judged.why.replace('\n', "\n        "))?;
            writeln!(f, "  hint: {}", judged.hint)?;
        }
        for judged in self.missed() {
            writeln!(
                f,
                "\nnot kept: {}\n  rule: {} (a SHOULD: the mapper conforms without)",
                judged.rule, judged.text
            )?;
            writeln!(f, "  seen: {}", judged.why.replace('\n', "\n        "))?;
            writeln!(f, "  hint: {}", judged.hint)?;
        }
        self.tell_written(f)?;
        let count = |verdict| self.with(verdict).count();
        let missed = match count(Verdict::Missed) {
            0 => String::new(),
            missed => format!(", {missed} not kept (SHOULD)"),
        };
        writeln!(
            f,
            "\n{} kept, {} broken{missed}, {} not judged",
            count(Verdict::Kept),
            count(Verdict::Broken),
            count(Verdict::NotJudged)
        )
    }
}

impl Report {
    fn tell_written(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for wrote in &self.written {
            let Wrote {
                device,
                point,
                times,
                value,
                ..
            } = wrote;
            let ending = match (&wrote.found, &wrote.lost) {
                (_, Some(why)) => format!("IT IS NOT PUT BACK: {why}"),
                (Some(found), None) => format!("it had {found} at the end and was put back"),
                (None, None) => "it has that value".to_owned(),
            };
            writeln!(
                f,
                "\nwrote to {device}: {point}, {times} times {value}, which was read from it; {ending}"
            )?;
        }
        Ok(())
    }
}
