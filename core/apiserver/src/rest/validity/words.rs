//! What names, labels and keys may look like, and the words for what does not.

use std::sync::LazyLock;

use regex_lite::Regex;

#[allow(
    clippy::expect_used,
    reason = "the patterns are constants and a test uses them"
)]
fn pattern(text: &str) -> Regex {
    Regex::new(&format!("^{text}$")).expect("the pattern is valid")
}

const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_VALUE: &str = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const NAME: &str = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

static SUBDOMAINS: LazyLock<Regex> = LazyLock::new(|| pattern(SUBDOMAIN));
static LABELS: LazyLock<Regex> = LazyLock::new(|| pattern(LABEL));
static LABEL_VALUES: LazyLock<Regex> = LazyLock::new(|| pattern(LABEL_VALUE));
static NAMES: LazyLock<Regex> = LazyLock::new(|| pattern(NAME));

fn longer(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} bytes"))
}

/// What is wrong with the name of most objects.
pub(super) fn subdomain(text: &str) -> Option<String> {
    let words = || {
        format!(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '{SUBDOMAIN}')"
        )
    };
    longer(text, 253).or_else(|| (!SUBDOMAINS.is_match(text)).then(words))
}

/// What is wrong with the name of a namespace.
pub(super) fn label_name(text: &str) -> Option<String> {
    let words = || {
        format!(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
             end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
        )
    };
    if text.contains('.') {
        return Some("must not contain dots".to_owned());
    }
    longer(text, 63).or_else(|| (!LABELS.is_match(text)).then(words))
}

/// What is wrong with the value of a label.
pub(super) fn label_value(text: &str) -> Option<String> {
    let words = || {
        format!(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
             validation is '{LABEL_VALUE}')"
        )
    };
    longer(text, 63).or_else(|| (!LABEL_VALUES.is_match(text)).then(words))
}

/// What is wrong with the key of a label, an annotation or a taint: a name, and before
/// it a domain, or not.
pub(super) fn qualified(text: &str) -> Option<String> {
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        ["", _] => return Some("prefix part must be non-empty".to_owned()),
        [prefix, name] => match subdomain(prefix) {
            Some(fault) => return Some(format!("prefix part {fault}")),
            None => name,
        },
        _ => {
            return Some(format!(
                "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                 with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                 validation is '{NAME}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
        }
    };
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    let words = || {
        format!(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '{NAME}')"
        )
    };
    longer(name, 63)
        .map(|fault| format!("name part {fault}"))
        .or_else(|| (!NAMES.is_match(name)).then(words))
}

/// What is wrong with a key of a config map or a secret.
pub(super) fn config_key(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let words = || {
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
         'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            .to_owned()
    };
    if let Some(fault) = longer(text, 253) {
        return Some(fault);
    }
    if text.is_empty() || !text.chars().all(plain) {
        return Some(words());
    }
    match text {
        "." | ".." => Some(format!("must not be '{text}'")),
        _ => text
            .starts_with("..")
            .then(|| "must not start with '..'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        for good in ["a", "a.b", "123-abc"] {
            assert_eq!(subdomain(good), None, "{good}");
        }
        for good in ["a", "Some.Name", "example.com/MyName", "a-b_c"] {
            assert_eq!(qualified(good), None, "{good}");
        }
        for (bad, words) in [
            ("", "name part must be non-empty"),
            ("/a", "prefix part must be non-empty"),
            ("A/a", "prefix part a lowercase RFC 1123 subdomain"),
            ("a/b/c", "a valid label key must consist"),
            ("-a", "name part must consist"),
        ] {
            let fault = qualified(bad).unwrap_or_default();
            assert!(fault.starts_with(words), "{bad}: {fault}");
        }
        assert_eq!(label_name("a.b").as_deref(), Some("must not contain dots"));
        let long = label_value(&"x".repeat(64));
        assert_eq!(long.as_deref(), Some("must be no more than 63 bytes"));
        assert_eq!(
            config_key("..a").as_deref(),
            Some("must not start with '..'")
        );
        assert_eq!(config_key(".a"), None);
    }
}
