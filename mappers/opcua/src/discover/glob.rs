//! Which browse paths are meant.

/// Whether a path is meant; no glob means each. Globs are written with or
/// without the indexes of namespaces; one without `/` is a name at any depth,
/// with all that is below it.
pub(super) fn matches(globs: &[String], path: &str) -> bool {
    let bare: Vec<_> = path
        .split('/')
        .map(|element| match element.split_once(':') {
            Some((index, name)) if index.parse::<u16>().is_ok() => name,
            _ => element,
        })
        .collect();
    let bare = bare.join("/");
    let either = |glob: &str| {
        is_match(glob.as_bytes(), path.as_bytes()) || is_match(glob.as_bytes(), bare.as_bytes())
    };
    let any = |glob: &String| match glob.contains('/') || glob.starts_with("**") {
        true => either(glob),
        false => either(&format!("/**/{glob}")) || either(&format!("/**/{glob}/**")),
    };
    globs.is_empty() || globs.iter().any(any)
}

/// `*` is anything within an element, `**` anything at all, `?` one character.
fn is_match(glob: &[u8], text: &[u8]) -> bool {
    match glob {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => {
            let Some(rest) = rest.strip_prefix(b"/") else {
                return (0..=text.len()).any(|at| is_match(rest, &text[at..]));
            };
            // Whole elements; `/**/` may also be nothing.
            let begins = |at: &usize| *at == 0 || text[*at - 1] == b'/';
            (0..=text.len())
                .filter(begins)
                .any(|at| is_match(rest, &text[at..]))
        }
        [b'*', rest @ ..] => {
            let end = text
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(text.len());
            (0..=end).any(|at| is_match(rest, &text[at..]))
        }
        [b'?', rest @ ..] => {
            text.first().is_some_and(|byte| *byte != b'/') && is_match(rest, &text[1..])
        }
        [one, rest @ ..] => text.first() == Some(one) && is_match(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_choose_browse_paths_with_and_without_indexes() {
        let path = "/Objects/2:Machine/2:Axis1/2:Position";
        for glob in [
            "/Objects/2:Machine/2:Axis1/2:Position",
            "/Objects/Machine/*/Position",
            "/Objects/**",
            "**/Position",
            "/Objects/Machine/**/Pos*",
            "/Objects/Machine/Axis?/Position",
            "Machine",
            "2:Axis1",
            "Posi*",
        ] {
            assert!(matches(&[glob.to_owned()], path), "{glob}");
        }
        for glob in [
            "/Objects/*/Position",
            "Axis",
            "osition",
            "**/osition",
            "/Objects/Machine",
            "**/Speed",
        ] {
            assert!(!matches(&[glob.to_owned()], path), "{glob}");
        }
        assert!(matches(&[], path));
    }
}
