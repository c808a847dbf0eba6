//! Files, read strictly.

use std::path::Path;

use longshore_types::Manifests;

fn faults(text: &str) -> (Manifests, String) {
    let manifests = Manifests::from_text(Path::new("boiler.yaml"), text);
    let faults = manifests
        .faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    (manifests, faults)
}

#[test]
fn kubeedge_manifests_load_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubeedge");
    let manifests = Manifests::load(&folder).unwrap();
    assert_eq!(manifests.faults, []);
    assert_eq!((manifests.devices.len(), manifests.models.len()), (3, 3));
    let press = manifests
        .devices
        .iter()
        .find(|d| d.object.metadata.name == "press-1")
        .unwrap();
    assert_eq!(press.object.metadata.namespace, "plant");
    let push = press.object.spec.properties[0]
        .push_method
        .as_ref()
        .unwrap();
    let database = push.db_method.as_ref().unwrap();
    assert_eq!(
        database
            .tdengine
            .as_ref()
            .unwrap()
            .tdengine_client_config
            .db_name,
        "press"
    );
    assert_eq!(
        push.otel.as_ref().unwrap().endpoint_url,
        "http://127.0.0.1:4318"
    );
    let tag = manifests
        .devices
        .iter()
        .find(|d| d.object.metadata.name == "tag-1")
        .unwrap();
    assert_eq!(tag.object.metadata.namespace, "default");
    let config = &tag.object.spec.properties[0].visitors.config_data;
    assert_eq!(config["aVendorsOwnKey"]["deep"][0], 1);
    assert_eq!(
        config["dataConverter"]["orderOfOperations"][0]["operationValue"],
        0.03125
    );
}

#[test]
fn faults_name_line_and_path_and_the_rest_loads() {
    let (manifests, faults) = faults(
        r#"apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: good}
spec:
  nodeName: edge-1
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata:
  name: bad
  lables: {a: b}
spec:
  nodeNam: edge-1
  properties:
    - name: setpoint
      desired: {value: 30}
      collectCycle: fast
      collectCycle: 5
    - name: other
      desired: {metadata: {type: int}}
      visitors:
        configData: [1]
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: broken
spec: }{
---
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: {name: old}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: model}
spec:
  properties:
    - {name: a, type: REAL, accessMode: ReadOnly}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Gadget
metadata: {name: gadget}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: Bad_Name}
---
# only a comment
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: good}
---
just a text
---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: last}
spec:
  properties:
    - {name: mode, type: INT, visitors: {configData: {enum: {0: Low, 1: "On"}}}}
"#,
    );
    insta::assert_snapshot!(faults, @r#"
    boiler.yaml:11 (document 2): metadata.lables: unknown field, did you mean `labels`?
    boiler.yaml:13 (document 2): spec.nodeNam: unknown field, did you mean `nodeName`?
    boiler.yaml:18 (document 2): spec.properties[0].collectCycle: stands twice, first in line 17
    boiler.yaml:16 (document 2): spec.properties[0].desired.value: expected a text, got the number 30; write "30"
    boiler.yaml:17 (document 2): spec.properties[0].collectCycle: expected a whole number, got `fast`
    boiler.yaml:20 (document 2): spec.properties[1].desired.value: missing
    boiler.yaml:22 (document 2): spec.properties[1].visitors.configData: expected an object, got a list
    boiler.yaml:27 (document 3): while parsing a flow mapping, did not find expected ',' or '}'
    boiler.yaml:29 (document 4): apiVersion: `devices.kubeedge.io/v1alpha2` is not supported, expected `devices.kubeedge.io/v1beta1`
    boiler.yaml:38 (document 5): spec.properties[0].type: `REAL` is not one of INT, FLOAT, DOUBLE, STRING, BOOLEAN, BYTES, STREAM
    boiler.yaml:41 (document 6): kind: unknown kind `Gadget`, expected Device or DeviceModel
    boiler.yaml:44 (document 7): ConfigMap of v1 is not read here and left out
    boiler.yaml:50 (document 8): metadata: `Bad_Name` is not a valid device name: use lower case letters, digits and `-`, beginning and ending with a letter or digit
    boiler.yaml:54 (document 9): metadata.name: Device default/good stands twice, first at boiler.yaml:1, which counts
    boiler.yaml:58 (document 10): a manifest needs `apiVersion` and `kind`
    "#);
    assert_eq!(manifests.devices.len(), 1);
    assert_eq!(manifests.models.len(), 1);
    let names = &manifests.models[0].object.spec.properties[0]
        .visitors
        .as_ref()
        .unwrap()
        .config_data["enum"];
    assert_eq!(*names, serde_json::json!({"0": "Low", "1": "On"}));
}

#[test]
fn a_folder_is_read_in_order_and_what_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let device = |name: &str| {
        format!(
            "apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {{name: {name}}}\n"
        )
        .into_bytes()
    };
    write("b.yaml", &device("b"));
    write("a.yml", &device("a"));
    write("a.test.yaml", b"given: {}");
    write("c.yaml", &[0xff, 0xfe, b'\n']);
    write("notes.txt", b"hello");
    write(
        "d.json",
        br#"{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"Device","metadata":{"name":"d"}}"#,
    );
    let manifests = Manifests::load(folder.path()).unwrap();
    let names: Vec<_> = manifests
        .devices
        .iter()
        .map(|d| d.object.metadata.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "d"]);
    assert_eq!(manifests.faults.len(), 1);
    assert!(
        manifests.faults[0]
            .to_string()
            .contains("c.yaml (document 1): cannot be read"),
        "{}",
        manifests.faults[0]
    );
    assert!(Manifests::load(&folder.path().join("missing")).is_err());
}
