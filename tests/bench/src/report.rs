//! What was measured, as a text for people and as JSON for programs.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Map, Value as Json, json};

/// All that was measured.
#[derive(Debug, Default)]
pub struct Report {
    head: Vec<String>,
    tables: Vec<Table>,
    budgets: Vec<Budget>,
    json: Map<String, Json>,
}

/// One part of the report.
#[derive(Debug)]
pub struct Table {
    title: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Budget {
    what: &'static str,
    reached: String,
    budget: &'static str,
    met: bool,
}

impl Report {
    /// A line for the head.
    pub fn note(&mut self, line: impl Into<String>) {
        self.head.push(line.into());
    }

    /// A table; numbers stand on the right of all columns but the first.
    pub fn table(&mut self, title: &str, header: &[&'static str], rows: Vec<Vec<String>>) {
        self.tables.push(Table {
            title: title.to_owned(),
            header: header.to_vec(),
            rows,
        });
    }

    /// A budget and what was reached of it.
    pub fn budget(&mut self, what: &'static str, budget: &'static str, reached: String, met: bool) {
        self.budgets.push(Budget {
            what,
            reached,
            budget,
            met,
        });
    }

    /// Raw numbers.
    pub fn data(&mut self, key: &str, value: Json) {
        self.json.insert(key.to_owned(), value);
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.head {
            let _ = writeln!(text, "{line}");
        }
        for table in &self.tables {
            let _ = write!(text, "\n{}\n", table.title);
            let header = table.header.iter().map(|cell| (*cell).to_owned()).collect();
            lines(&mut text, &[vec![header], table.rows.clone()].concat());
        }
        if !self.budgets.is_empty() {
            text.push_str("\nbudgets\n");
            let row = |budget: &Budget| {
                let verdict = if budget.met { "reached" } else { "MISSED" };
                [budget.what, &budget.reached, budget.budget, verdict]
                    .map(str::to_owned)
                    .to_vec()
            };
            let header = ["what", "measured", "budget", ""]
                .map(str::to_owned)
                .to_vec();
            let rows: Vec<_> = std::iter::once(header)
                .chain(self.budgets.iter().map(row))
                .collect();
            lines(&mut text, &rows);
        }
        text
    }

    /// For programs.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        let budget = |budget: &Budget| json!({"what": budget.what, "reached": budget.reached, "budget": budget.budget, "met": budget.met});
        let budgets: Vec<Json> = self.budgets.iter().map(budget).collect();
        let all = json!({"head": self.head, "budgets": budgets, "measured": self.json});
        fs::write(file, format!("{all:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

fn lines(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 => write!(line, " {cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// Tells who waits what is being done; never fails.
pub fn progress(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// KiB as MB (10^6), since files and processes are compared with each other.
pub fn megabytes(kib: u64) -> String {
    format!("{:.1} MB", kib as f64 * 1024.0 / 1e6)
}

/// A number with its thousands apart.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

/// The value below which a share of all lies; the list is sorted.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).ceil() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(thousands(12.0), "12");
        assert_eq!(megabytes(1_000_000), "1024.0 MB");
    }

    #[test]
    fn quantiles_take_a_value_that_was_measured() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.5), 3.0);
        assert_eq!(quantile(&values, 1.0), 4.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
