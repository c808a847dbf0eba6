//! Where a key stands in the text: the tree that a parser makes has no lines.

/// Line of a key path in block style YAML; the nearest known ancestor's when
/// the key itself is not found (absent, or flow style).
pub(super) fn line_of(text: &str, path: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut from, mut to, mut found) = (0, lines.len(), None);
    for step in path.split('.').flat_map(|part| part.split_inclusive('[')) {
        let step = step.trim_end_matches('[');
        let hit = match step.strip_suffix(']') {
            Some(index) => index
                .parse()
                .ok()
                .and_then(|n| nth_item(&lines, from, to, n)),
            None => key_line(&lines, from, to, step),
        };
        let Some((line, end)) = hit else { break };
        found = Some(line + 1);
        // A list item's own line may hold its first key.
        from = if step.ends_with(']') { line } else { line + 1 };
        to = end;
    }
    found
}

/// Indentation of a line's content, the dash of a list item not counted.
fn indent(line: &str) -> Option<usize> {
    let content = line.trim_start_matches([' ', '-']);
    (!content.is_empty() && !content.starts_with('#')).then(|| line.len() - content.len())
}

fn key_line(lines: &[&str], from: usize, to: usize, key: &str) -> Option<(usize, usize)> {
    let level = (from..to).filter_map(|i| indent(lines[i])).min()?;
    let line = (from..to).find(|i| {
        let content = lines[*i].trim_start_matches([' ', '-']);
        // JSON is YAML too; its keys have quotes.
        let rest = content.trim_start_matches('"').strip_prefix(key);
        indent(lines[*i]) == Some(level)
            && rest.is_some_and(|rest| rest.trim_start_matches(['"', ' ']).starts_with(':'))
    })?;
    let end = (line + 1..to)
        .find(|i| indent(lines[*i]).is_some_and(|n| n <= level))
        .unwrap_or(to);
    Some((line, end))
}

fn nth_item(lines: &[&str], from: usize, to: usize, n: usize) -> Option<(usize, usize)> {
    let dash = |i: &usize| lines[*i].trim_start().starts_with("- ");
    let level = (from..to)
        .filter(dash)
        .map(|i| lines[i].len() - lines[i].trim_start().len())
        .min()?;
    let mut items =
        (from..to).filter(|i| dash(i) && lines[*i].len() - lines[*i].trim_start().len() == level);
    let line = items.nth(n)?;
    Some((line, items.next().unwrap_or(to)))
}
