//! Rust text without its comments and literals, so that a rule which looks for
//! a word finds code and not talk about it.

/// Blanks comments, strings and character literals. Lines stay where they are.
pub(crate) fn only_code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        match end_of_literal_or_comment(&chars, at) {
            Some(end) => {
                out.extend(
                    chars[at..end]
                        .iter()
                        .map(|c| if *c == '\n' { '\n' } else { ' ' }),
                );
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// Whether `word` stands in `code` as a whole identifier.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_identifier) && !after.is_some_and(is_identifier)
    })
}

fn is_identifier(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn end_of_literal_or_comment(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => Some(find(chars, at, |rest| rest[0] == '\n', 0)),
        '/' if next == Some('*') => Some(end_of_block_comment(chars, at)),
        '"' => Some(end_of_string(chars, at)),
        'r' if starts_literal(chars, at) => end_of_raw_string(chars, at),
        '\'' if next == Some('\\') => Some(find(chars, at + 3, |rest| rest[0] == '\'', 1)),
        // Else it is a lifetime.
        '\'' if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

/// The first place from `from` on where `matches`, plus `extra`, or the end.
fn find(chars: &[char], from: usize, matches: impl Fn(&[char]) -> bool, extra: usize) -> usize {
    (from..chars.len())
        .find(|at| matches(&chars[*at..]))
        .map_or(chars.len(), |at| (at + extra).min(chars.len()))
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Whether the `r` at `at` can begin a literal: `r"`, `br"`, `cr"`, and not the
/// end of a name.
fn starts_literal(chars: &[char], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).map(|i| chars[i]);
    match before(1) {
        Some('b' | 'c') => !before(2).is_some_and(is_identifier),
        Some(c) => !is_identifier(c),
        None => true,
    }
}

fn end_of_raw_string(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#')
    };
    Some(find(chars, open + 1, closes, 1 + hashes))
}

#[test]
fn comments_and_literals_go_and_code_stays() {
    for (text, code) in [
        ("a // unsafe\nb", "a b"),
        ("a /* x /* y */ z */ b", "a b"),
        (r#"f("un\"safe") + 1"#, "f( ) + 1"),
        ("r#\"a\"b\"# c", "c"),
        ("br\"x\" y", "b y"),
        ("r#type::<'a>('\"', '\\'', b'x')", "r#type::<'a>( , , b )"),
        ("\"open", ""),
    ] {
        let blanked = only_code(text);
        assert_eq!(blanked.chars().count(), text.chars().count(), "of {text}");
        assert_eq!(blanked.lines().count(), text.lines().count(), "of {text}");
        let words: Vec<_> = blanked.split_whitespace().collect();
        assert_eq!(words.join(" "), code, "of {text}");
    }
}

#[test]
fn words_are_whole() {
    assert!(has_word("a unsafe {", "unsafe"));
    assert!(has_word("#[unsafe(no_mangle)]", "unsafe"));
    assert!(!has_word(
        "allow(unsafe_code), an_unsafe, unsafely",
        "unsafe"
    ));
}
