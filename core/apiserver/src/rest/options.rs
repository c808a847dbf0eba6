//! The parameters of a request: those that make no sense are refused, in the words of the
//! real server, before anything is done.

use serde_json::{Value, json};

use super::request::Params;
use super::status::ApiError;
use crate::cause::Cause;

/// The longest name of a manager of fields.
const MANAGER: usize = 128;

/// Checks what goes with `verb`; `apply` says that it is a patch of that form.
pub(super) fn check(verb: &str, apply: bool, params: &Params) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    let kind = match verb {
        "list" | "watch" => {
            numbers(params)?;
            list(params, &mut causes);
            "ListOptions"
        }
        "create" | "update" | "patch" => {
            dry_run(params, &mut causes);
            field_validation(params, &mut causes);
            manager(params, apply, &mut causes);
            if verb == "patch" && !apply && params.get("force").is_some() {
                let detail = "may not be specified for non-apply patch";
                causes.push(Cause::forbidden("force", detail));
            }
            match verb {
                "create" => "CreateOptions",
                "update" => "UpdateOptions",
                _ => "PatchOptions",
            }
        }
        _ => {
            dry_run(params, &mut causes);
            "DeleteOptions"
        }
    };
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid_options(kind, &causes))
}

fn texts(list: &[&str]) -> Vec<Value> {
    list.iter().map(|text| json!(text)).collect()
}

fn dry_run(params: &Params, causes: &mut Vec<Cause>) {
    if let Some(given) = params.get("dryRun").filter(|given| *given != "All") {
        let given = json!([given]);
        causes.push(Cause::unsupported("dryRun", &given, &texts(&["All"])));
    }
}

fn field_validation(params: &Params, causes: &mut Vec<Cause>) {
    let known = ["", "Ignore", "Strict", "Warn"];
    let given = params.get("fieldValidation").unwrap_or_default();
    if !known.contains(&given) {
        let field = "fieldValidation";
        causes.push(Cause::unsupported(field, &json!(given), &texts(&known)));
    }
}

fn manager(params: &Params, apply: bool, causes: &mut Vec<Cause>) {
    let Some(name) = params.get("fieldManager") else {
        if apply {
            let detail = "is required for apply patch";
            causes.push(Cause::missing("fieldManager", detail));
        }
        return;
    };
    if name.len() > MANAGER {
        causes.push(Cause::too_long("fieldManager", MANAGER));
    }
    if name.chars().any(char::is_control) {
        let detail = "should only contain printable characters";
        causes.push(Cause::invalid("fieldManager", &json!(name), detail));
    }
}

fn numbers(params: &Params) -> Result<(), ApiError> {
    for name in ["limit", "timeoutSeconds"] {
        if let Some(text) = params.get(name)
            && text.parse::<i64>().is_err()
        {
            let text = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            return Err(ApiError::bad_request(text));
        }
    }
    Ok(())
}

/// Which state a list is of.
fn list(params: &Params, causes: &mut Vec<Cause>) {
    let (field, watch) = ("resourceVersionMatch", params.flag("watch"));
    let revision = params.get("resourceVersion");
    let mut forbidden = |field: &str, detail: &str| causes.push(Cause::forbidden(field, detail));
    let given = params.get(field);
    if given.is_some() && params.get("continue").is_some() {
        forbidden(
            field,
            "resourceVersionMatch is forbidden when continue is provided",
        );
    }
    let initial = params.get("sendInitialEvents").is_some();
    if initial && !watch {
        forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        );
    }
    if initial && watch && given.is_none() {
        forbidden(
            field,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    let Some(given) = given else { return };
    if watch && !initial {
        forbidden(
            field,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    }
    if !watch && revision.is_none() {
        forbidden(
            field,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        );
    }
    if given == "Exact" && revision == Some("0") {
        forbidden(
            field,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        );
    }
    let known: &[&str] = if watch {
        &["NotOlderThan"]
    } else {
        &["Exact", "NotOlderThan", ""]
    };
    if !known.contains(&given) {
        causes.push(Cause::unsupported(field, &json!(given), &texts(known)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (verb, query) in [
            ("create", "dryRun=Yes"),
            ("create", "fieldValidation=Foo"),
            ("patch", "force=true"),
            ("list", "limit=abc"),
            ("list", "resourceVersionMatch=Exact"),
            ("list", "resourceVersion=1&resourceVersionMatch=Foo"),
            ("list", "resourceVersion=0&resourceVersionMatch=Exact"),
            ("watch", "watch=1&sendInitialEvents=true"),
        ] {
            assert!(
                check(verb, false, &Params::parse(query)).is_err(),
                "{query}"
            );
        }
        assert!(check("patch", true, &Params::parse("")).is_err());
        for (verb, query) in [
            (
                "create",
                "dryRun=All&fieldValidation=Strict&fieldManager=kubectl",
            ),
            (
                "list",
                "limit=5&resourceVersion=1&resourceVersionMatch=Exact",
            ),
            ("list", "limit=-1"),
            (
                "watch",
                "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            ),
        ] {
            assert!(check(verb, false, &Params::parse(query)).is_ok(), "{query}");
        }
        assert!(check("patch", true, &Params::parse("force=true&fieldManager=m")).is_ok());
    }
}
