//! `docs/reference/cli.md` is what the argument parser says.

use std::{fmt::Write, fs, path::PathBuf};

use clap::{Arg, Command, CommandFactory};

use crate::{args::Args, explain};

const HEADER: &str = "<!-- Generated from cli/src/args.rs; `LONGSHORE_UPDATE=1 cargo test -p longshore-cli` rewrites it. -->
# Command line

`longshore` speaks to the Kubernetes API that the kubeconfig names: `--kubeconfig`, else `KUBECONFIG`, else
`.longshore/kubeconfig` in this folder or above, else `~/.kube/config`. The exit code is 0 if all went well, 1 if
not, 2 for wrong arguments. Errors go to standard error, with what to do next after a blank line.

`longshore status -o json` has a `state`: `starting`, `running`, `unsupervised` (the supervisor was killed, processes
still run) or `stopped`; the exit code is 0 only for `running`.
";

#[test]
fn the_reference_is_up_to_date() {
    let mut text = HEADER.to_owned();
    let mut root = Args::command();
    root.build();
    command(&mut text, &root, "longshore");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
    if std::env::var_os("LONGSHORE_UPDATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/cli.md is out of date; run `LONGSHORE_UPDATE=1 cargo test -p longshore-cli`"
    );
}

/// A page for each mapper, out of the schema that its types give.
#[test]
fn the_pages_of_the_protocols_are_up_to_date() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = 0;
    for mapper in fs::read_dir(root.join("mappers")).unwrap() {
        let mapper = mapper.unwrap();
        let Ok(schema) = fs::read_to_string(mapper.path().join("schema.json")) else {
            continue;
        };
        let name = mapper.file_name().into_string().unwrap();
        let text = protocol(&name, &serde_json::from_str(&schema).unwrap());
        let file = root.join(format!("docs/reference/protocol-{name}.md"));
        if std::env::var_os("LONGSHORE_UPDATE").is_some() {
            fs::write(&file, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&file).unwrap_or_default() == text,
            "{} is out of date; run `LONGSHORE_UPDATE=1 cargo test -p longshore-cli`",
            file.display()
        );
        pages += 1;
    }
    assert!(pages >= 4, "{pages} mappers carry a schema");
}

fn protocol(name: &str, schema: &serde_json::Value) -> String {
    let mut text = format!(
        "<!-- Generated from mappers/{name}/schema.json; `LONGSHORE_UPDATE=1 cargo test -p longshore-cli` rewrites it. -->\n\
         # Protocol {name}\n\n{}\n\nThe same in a terminal: `longshore explain {name}`. How to use it: docs/how-to/{name}.md.\n",
        schema["description"].as_str().unwrap_or_default()
    );
    for (part, place) in explain::parts() {
        let Some(section) = schema.get(part) else {
            continue;
        };
        let about = section["description"].as_str().unwrap_or_default();
        let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(text, "\n## {part}\n\n{place}. {about}\n\n| key | form | default | meaning |\n|---|---|---|---|\n").unwrap();
        for row in explain::rows(section, section, "", 0) {
            let [key, form, default, meaning] = row.map(|cell| cell.replace('|', "\\|"));
            writeln!(text, "| `{key}` | {form} | {default} | {meaning} |").unwrap();
        }
        for example in section["examples"].as_array().into_iter().flatten() {
            write!(text, "\n```json\n{example}\n```\n").unwrap();
        }
    }
    text
}

fn command(out: &mut String, found: &Command, path: &str) {
    let commands: Vec<&Command> = found
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .collect();
    for inner in &commands {
        command(out, inner, &format!("{path} {}", inner.get_name()));
    }
    if !commands.is_empty() {
        return;
    }
    let shown: Vec<&Arg> = found
        .get_arguments()
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    writeln!(
        out,
        "\n## {path}\n\n{}\n",
        found
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default()
    )
    .unwrap();
    if shown.is_empty() {
        writeln!(out, "No arguments.").unwrap();
        return;
    }
    writeln!(out, "| argument | meaning |\n|---|---|").unwrap();
    for arg in shown {
        let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() && arg.get_num_args().is_some_and(|range| range.takes_values()) {
            write!(help, ": {}", values.join(", ")).unwrap();
        }
        let defaults: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        if !defaults.is_empty() && arg.get_num_args().is_some_and(|range| range.takes_values()) {
            write!(help, " (default {})", defaults.join(", ")).unwrap();
        }
        writeln!(out, "| `{}` | {} |", name(arg), help.replace('|', "\\|")).unwrap();
    }
}

fn name(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(|names| names.first())
        .map(ToString::to_string)
        .unwrap_or_default();
    if arg.is_positional() {
        return value;
    }
    let mut text = arg
        .get_short()
        .map(|short| format!("-{short}, "))
        .unwrap_or_default();
    write!(text, "--{}", arg.get_long().unwrap_or_default()).unwrap();
    if arg.get_num_args().is_some_and(|range| range.takes_values()) && !value.is_empty() {
        write!(text, " {value}").unwrap();
    }
    text
}
