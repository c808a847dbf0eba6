use super::*;

fn faults<T>(text: &str, read: impl FnOnce(&mut Section) -> Option<T>) -> Vec<String> {
    let faults = parse(text, Path::new("/etc"), read)
        .err()
        .unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

fn node(root: &mut Section) -> Option<String> {
    root.required("node")
}

#[test]
fn null_is_the_same_as_absent() {
    for text in ["", "# nothing\n", "node:\n", "node: null\n", "{}"] {
        let faults = faults(text, node);
        assert_eq!(faults.len(), 1, "{text}");
        assert!(faults[0].ends_with("node: missing"), "{text}: {faults:?}");
    }
    let read = |root: &mut Section| {
        let hub = root.section("hub").is_present();
        Some((hub, root.number("count", 7, 1..=9), root.flag("on", true)))
    };
    let parse = |text| parse(text, Path::new("/"), read).unwrap();
    assert_eq!(parse("hub:\ncount:\non:\n"), (false, 7, true));
    assert_eq!(parse("hub: {}\ncount: 3\non: false\n"), (true, 3, false));
}

#[test]
fn what_is_no_yaml_says_where() {
    assert!(faults("node: [\n", node)[0].contains("not valid YAML"));
    assert_eq!(
        faults("node: a\nnode: b\n", node),
        ["line 2: node stands twice"]
    );
    assert_eq!(
        faults("- a\n", node),
        [": expected a mapping, found a list", "node: missing"]
            .map(|text| text.trim_start_matches(": "))
    );
}

#[test]
fn each_reader_names_what_it_expected() {
    let text = "\
count: 0
on: perhaps
mode: embeded
listen: here
names: [a, 5]
log:
  level: info,x=loud
  format: yaml
";
    let read = |root: &mut Section| {
        root.number("count", 1, 1..=256);
        root.flag("on", false);
        root.choice("mode", &[("embedded", 0), ("off", 1)], 0);
        root.address("listen", "127.0.0.1:80");
        root.optional::<Vec<String>>("names");
        root.section("log").log();
        Some(())
    };
    assert_eq!(
        faults(text, read),
        [
            "line 1: count: expected a number from 1 to 256",
            "line 2: on: invalid type: string \"perhaps\", expected a boolean",
            "line 3: mode: `embeded` is none of `embedded`, `off`, did you mean `embedded`",
            "line 4: listen: `here` is no address and port, such as `127.0.0.1:80`",
            "line 5: names[1]: invalid type: integer `5`, expected a string",
            "line 7: log.level: `info,x=loud` is no log filter: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
            "line 8: log.format: `yaml` is none of `text`, `json`",
        ]
    );
}

#[test]
fn a_plain_off_is_a_word() {
    let read = |root: &mut Section| Some(root.choice("mode", &[("on", 1), ("off", 2)], 0));
    assert_eq!(parse("mode: off\n", Path::new("/"), read), Ok(2));
    assert_eq!(parse("mode: on\n", Path::new("/"), read), Ok(1));
}

#[test]
fn items_of_a_list_have_their_lines() {
    let text = "mappers:\n  - name: a\n  - name: b\n    fiel: x\n  -\n";
    let read = |root: &mut Section| {
        for mut item in root.list("mappers") {
            item.required::<String>("name");
            item.path("file");
        }
        Some(())
    };
    assert_eq!(
        faults(text, read),
        [
            "line 1: mappers[2].name: missing",
            "line 4: mappers[1].fiel: unknown key, did you mean `file`"
        ]
    );
}

#[test]
fn an_absent_file_and_a_wrong_one_are_faults_of_configuration() {
    let error = load(Path::new("/nowhere/edge.yaml"), node).unwrap_err();
    assert_eq!(error.exit(), Exit::Configuration);
    assert_eq!(
        crate::report(&error),
        "no configuration at /nowhere/edge.yaml\n\nhint: name one with --config FILE"
    );
    let error = load(Path::new("/"), node).unwrap_err();
    assert!(crate::report(&error).starts_with("failed to read the configuration `/`\ncaused by: "));
    let error = ConfigError::Faults {
        file: "a.yaml".into(),
        faults: parse("", Path::new("/"), node).unwrap_err(),
    };
    assert_eq!(
        crate::report(&error),
        "invalid configuration `a.yaml` (1 fault)\n  node: missing"
    );
}
