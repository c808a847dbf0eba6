//! The known word that somebody may have meant.

/// Words of `known` that are near to `word`, the nearest first.
pub(crate) fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Vec<&'k str> {
    let limit = 1 + word.chars().count() / 4;
    // Where two are as near, the one that is as long: letters are mistaken
    // more often than forgotten.
    let mut found: Vec<(usize, usize, &str)> = known
        .into_iter()
        .map(|known| {
            (
                distance(word, known),
                word.len().abs_diff(known.len()),
                known,
            )
        })
        .filter(|(distance, ..)| *distance <= limit)
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|(.., known)| known).collect()
}

/// Letters to add, drop or replace; upper and lower case are the same.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn the_nearest_word_comes_first() {
        let known = ["unit", "units", "url", "registers"];
        assert_eq!(near("unitz", known), ["units", "unit"]);
        assert_eq!(near("adress", ["address"]), ["address"]);
        assert!(near("colour", known).is_empty());
    }
}
