//! The known word that somebody may have meant.

/// Words of `known` that are near to `word`, the nearest first. Upper and lower
/// case are the same, and two letters that changed places are one mistake.
///
/// ```
/// use longshore_types::near::near;
///
/// assert_eq!(near("unitz", ["unit", "units", "url"]), ["units", "unit"]);
/// assert!(near("colour", ["unit", "url"]).is_empty());
/// ```
pub fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Vec<&'k str> {
    let lower = word.to_lowercase();
    let length = word.chars().count();
    // One mistake, and one more for each four letters.
    let limit = (1 + length / 4).min(length.saturating_sub(1));
    // Where two are as near, the one that is as long: letters are mistaken
    // more often than forgotten.
    let mut found: Vec<(usize, usize, &str)> = known
        .into_iter()
        .map(|known| {
            let distance = strsim::osa_distance(&lower, &known.to_lowercase());
            (distance, word.len().abs_diff(known.len()), known)
        })
        .filter(|(distance, ..)| *distance <= limit)
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|(.., known)| known).collect()
}

/// The nearest of them.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    near(word, known).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_comes_first() {
        assert_eq!(near("adress", ["address"]), ["address"]);
        assert_eq!(nearest("lisetn", ["level", "listen"]), Some("listen"));
        assert_eq!(nearest("STATEDIR", ["stateDir"]), Some("stateDir"));
        assert_eq!(nearest("x", ["y"]), None, "a letter is no word");
        assert_eq!(nearest("", ["y"]), None);
    }
}
