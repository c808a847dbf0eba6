//! The older OpenAPI document, in the one form that old kubectl asks for.
//!
//! kubectl 1.27 looks here, and nowhere else, whether a resource takes
//! `fieldValidation`, and refuses to apply without an answer. It reads nothing
//! else of it, so there is nothing else: one `patch` operation for each kind, in
//! the protobuf encoding of the document. Schemas are in version 3.

use serde_json::json;

use super::VERSION;
use crate::registry::Registry;

/// The media type of the encoding. Clients ask for `v2@v1.0`, which is no valid
/// media type to answer with.
pub(super) const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A field of bytes: its number, their length, they themselves.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    varint(&mut out, (number << 3 | 2) as usize);
    varint(&mut out, content.len());
    out.extend_from_slice(content);
    out
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The document.
pub(super) fn document(registry: &Registry) -> Vec<u8> {
    let mut paths = Vec::new();
    for resource in registry.all() {
        let prefix = if resource.group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{}", resource.group)
        };
        let scope = if resource.namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let path = format!(
            "{prefix}/{}/{scope}{}/{{name}}",
            resource.version, resource.plural
        );
        let kind =
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
                .to_string();
        let mut operation = Vec::new();
        for name in ["dryRun", "fieldManager", "fieldValidation"] {
            // Operation.parameters(8) > ParametersItem.parameter(1) >
            // Parameter.non_body_parameter(2) > NonBodyParameter.query(3)
            let query = [
                field(2, b"query"),
                field(4, name.as_bytes()),
                field(6, b"string"),
            ]
            .concat();
            operation.extend(field(8, &field(1, &field(2, &field(3, &query)))));
        }
        // Operation.vendor_extension(13): a name and a value in YAML
        let extension = [
            field(1, b"x-kubernetes-group-version-kind"),
            field(2, &field(2, kind.as_bytes())),
        ]
        .concat();
        operation.extend(field(13, &extension));
        // PathItem.patch(8), under the path's name
        let item = [field(1, path.as_bytes()), field(2, &field(8, &operation))].concat();
        paths.extend(field(2, &item));
    }
    let info = [field(1, b"Kubernetes"), field(2, VERSION.as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, &paths)].concat()
}
