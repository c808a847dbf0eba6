//! What to try, once the demo is up: only what works when it is pasted.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{demo::Demo, ports::Service};
use crate::home::Home;

/// Which clients are here.
struct Tools {
    kubectl: bool,
    mosquitto: bool,
}

/// The text for the people who started the demo.
pub(super) fn what_to_try(home: &Home, demo: &Demo<'_>, took: Duration) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Tools {
        kubectl: is_on(&path, "kubectl"),
        mosquitto: is_on(&path, "mosquitto_sub"),
    };
    let setpoint = place(&demo.manifests(), "boiler", "setpoint");
    format!(
        "\nLongshore is up after {:.1} s; Ctrl-C ends it. Try, in another terminal:\n\n{}\n",
        took.as_secs_f64(),
        lines(
            &absolute(home.path()),
            demo.ports.get(Service::Bus),
            setpoint,
            &tools
        )
    )
}

fn lines(home: &Path, bus: u16, setpoint: Option<usize>, tools: &Tools) -> String {
    let cli = quoted(&home.join("bin/longshore"));
    let mut out = format!(
        "{cli} describe device boiler\n\
         {cli} set device boiler setpoint=75 --wait\n\
         {cli} watch device press\n\
         {cli} set device supply setpoint=5 --wait\n\
         {cli} get devices\n\
         {cli} status\n\
         {cli} explain serial\n\n"
    );
    let mut missing = String::new();
    if tools.kubectl {
        out.push_str(&format!(
            "export KUBECONFIG={}\n\
             kubectl get nodes,devices,devicestatuses\n\
             kubectl get devicestatus boiler -w\n",
            quoted(&home.join("kubeconfig"))
        ));
        if let Some(index) = setpoint {
            out.push_str(&format!(
                "kubectl patch device boiler --type json -p \
                 '[{{\"op\":\"add\",\"path\":\"/spec/properties/{index}/desired\",\"value\":{{\"value\":\"70\"}}}}]'\n"
            ));
        }
        out.push('\n');
    } else {
        missing.push_str(
            "kubectl is not here: any from 1.27 on will do; with Go, `tests/kubernetes/build kubectl` builds one\n",
        );
    }
    if tools.mosquitto {
        out.push_str(&format!(
            "mosquitto_sub -p {bus} -t 'longshore/+/+/batch' -v\n\
             mosquitto_sub -p {bus} -t '$hw/events/device/+/+/twin/update/document' -v\n\n"
        ));
    } else {
        missing.push_str("mosquitto_sub is not here: apt-get install mosquitto-clients\n");
    }
    if !missing.is_empty() {
        missing.push('\n');
    }
    out + &missing
}

/// Where a property stands in a device, for a JSON patch.
fn place(manifests: &[String], device: &str, property: &str) -> Option<usize> {
    let documents = manifests
        .iter()
        .filter_map(|text| serde_saphyr::from_multiple::<serde_json::Value>(text).ok())
        .flatten();
    let mut devices =
        documents.filter(|found| found["kind"] == "Device" && found["metadata"]["name"] == device);
    devices
        .next()?
        .pointer("/spec/properties")?
        .as_array()?
        .iter()
        .position(|found| found["name"] == property)
}

pub(super) fn is_on(path: &OsStr, program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::env::split_paths(path).any(|folder| {
        std::fs::metadata(folder.join(program))
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guide(kubectl: bool, mosquitto: bool) -> String {
        let manifests = [include_str!("../../../devices/demo/boiler.yaml").to_owned()];
        let setpoint = place(&manifests, "boiler", "setpoint");
        let tools = Tools { kubectl, mosquitto };
        lines(Path::new("/a b/.longshore"), 1884, setpoint, &tools)
    }

    #[test]
    fn what_is_here_can_be_pasted() {
        insta::assert_snapshot!(guide(true, true), @r#"
        '/a b/.longshore/bin/longshore' describe device boiler
        '/a b/.longshore/bin/longshore' set device boiler setpoint=75 --wait
        '/a b/.longshore/bin/longshore' watch device press
        '/a b/.longshore/bin/longshore' set device supply setpoint=5 --wait
        '/a b/.longshore/bin/longshore' get devices
        '/a b/.longshore/bin/longshore' status
        '/a b/.longshore/bin/longshore' explain serial

        export KUBECONFIG='/a b/.longshore/kubeconfig'
        kubectl get nodes,devices,devicestatuses
        kubectl get devicestatus boiler -w
        kubectl patch device boiler --type json -p '[{"op":"add","path":"/spec/properties/1/desired","value":{"value":"70"}}]'

        mosquitto_sub -p 1884 -t 'longshore/+/+/batch' -v
        mosquitto_sub -p 1884 -t '$hw/events/device/+/+/twin/update/document' -v
        "#);
    }

    #[test]
    fn what_is_not_here_is_named_with_the_way_to_it() {
        insta::assert_snapshot!(guide(false, false), @r"
        '/a b/.longshore/bin/longshore' describe device boiler
        '/a b/.longshore/bin/longshore' set device boiler setpoint=75 --wait
        '/a b/.longshore/bin/longshore' watch device press
        '/a b/.longshore/bin/longshore' set device supply setpoint=5 --wait
        '/a b/.longshore/bin/longshore' get devices
        '/a b/.longshore/bin/longshore' status
        '/a b/.longshore/bin/longshore' explain serial

        kubectl is not here: any from 1.27 on will do; with Go, `tests/kubernetes/build kubectl` builds one
        mosquitto_sub is not here: apt-get install mosquitto-clients
        ");
    }

    #[test]
    fn programs_are_looked_for_on_the_path() {
        let path = OsStr::new("/nowhere:/bin:/usr/bin");
        assert!(is_on(path, "sh") && !is_on(path, "no-such-program"));
    }
}
