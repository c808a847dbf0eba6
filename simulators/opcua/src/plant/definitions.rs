//! The nodes of data types, with what clients need to decode their values.

use super::{Place, Plant};
use crate::binary::Writer;
use crate::node_id::NodeId;
use crate::space::{Body, Class, Node, extension};
use crate::standard::id;
use crate::types::Structure;
use crate::value::{Array, Kind, LocalizedText, QualifiedName, Scalar, Value};

impl Plant {
    /// Data types with their definitions, and the encodings of structures.
    pub(super) fn add_types(&mut self) {
        for structure in self.space.types.structures.clone() {
            let definition = self.structure_definition(&structure);
            self.data_type(
                &structure.data_type,
                &structure.name,
                id::STRUCTURE,
                definition,
            );
            let node = Node {
                id: structure.encoding.clone(),
                class: Class::Object,
                browse_name: QualifiedName {
                    namespace: 0,
                    name: "Default Binary".to_owned(),
                },
                references: Vec::new(),
                body: Body::Plain,
            };
            self.space
                .add(node, Some((&structure.data_type, id::HAS_ENCODING)));
            self.typed(&structure.encoding, id::DATA_TYPE_ENCODING_TYPE);
        }
        for enumeration in self.space.types.enumerations.clone() {
            let mut w = Writer::default();
            w.structure(&NodeId::standard(123), |w| {
                w.length(enumeration.names.len());
                for (number, name) in enumeration.names.iter().enumerate() {
                    w.i64(number as i64);
                    w.plain_text(name);
                    w.plain_text("");
                    w.string(name);
                }
            });
            let of = &enumeration.data_type;
            self.data_type(of, &enumeration.name, id::ENUMERATION, extension(&w));
            let texts: Vec<String> = enumeration.names.clone();
            self.enum_strings(of, &texts);
        }
    }

    fn data_type(&mut self, id: &NodeId, name: &str, parent: u32, definition: Value) {
        let node = Node {
            id: id.clone(),
            class: Class::DataType,
            browse_name: QualifiedName {
                namespace: id.namespace,
                name: name.to_owned(),
            },
            references: Vec::new(),
            body: Body::DataType(definition),
        };
        self.space
            .add(node, Some((&NodeId::standard(parent), id::HAS_SUBTYPE)));
    }

    fn enum_strings(&mut self, of: &NodeId, names: &[String]) {
        let texts = names.iter().map(|name| {
            Scalar::LocalizedText(LocalizedText {
                locale: String::new(),
                text: name.clone(),
            })
        });
        let value = Value::Many(Array {
            kind: Kind::LocalizedText,
            items: texts.collect(),
            dimensions: Vec::new(),
        });
        let place = Place {
            parent: of.clone(),
            namespace: of.namespace,
            name: String::new(),
            reference: id::HAS_PROPERTY,
        };
        self.property(&place, "EnumStrings", 21, value);
    }

    /// StructureDefinition (OPC 10000-3, 8.48) with its fields (8.51).
    fn structure_definition(&self, structure: &Structure) -> Value {
        let types = &self.space.types;
        let mut w = Writer::default();
        w.structure(&NodeId::standard(122), |w| {
            w.node_id(&structure.encoding);
            w.node_id(&NodeId::standard(id::STRUCTURE));
            w.i32(0); // a structure without optional fields
            w.list(&structure.fields, |w, field| {
                w.string(&field.name);
                w.plain_text("");
                w.node_id(&types.data_type(field.of));
                w.i32(if field.array { 1 } else { -1 });
                w.nothing();
                w.u32(0);
                w.bool(false);
            });
        });
        extension(&w)
    }
}
