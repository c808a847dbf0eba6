//! What came out, for people and for programs.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// How a rule was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nothing was seen against it.
    Kept,
    /// It was broken.
    Broken,
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
}

impl Report {
    /// Whether no rule was broken.
    pub fn conforms(&self) -> bool {
        self.broken().next().is_none()
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
        let count = |verdict| self.with(verdict).count();
        writeln!(
            f,
            "\n{} kept, {} broken, {} not judged",
            count(Verdict::Kept),
            count(Verdict::Broken),
            count(Verdict::NotJudged)
        )
    }
}
