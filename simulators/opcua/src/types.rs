//! The structures and enumerations of a scenario, and the bytes of their values.

use std::collections::BTreeMap;

use longshore_sim_world::Problem;
use serde_json::{Map, Value as Json};

use crate::binary::{Malformed, Reader, Writer};
use crate::node_id::NodeId;
use crate::scenario::TypeSpec;
use crate::value::{Extension, Kind, Scalar};

/// What a variable or a field is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Plain(Kind),
    Enumeration(usize),
    Structure(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) of: Type,
    pub(crate) array: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Structure {
    pub(crate) name: String,
    pub(crate) data_type: NodeId,
    /// The node that values name (OPC 10000-6, 5.2.2.15).
    pub(crate) encoding: NodeId,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub(crate) struct Enumeration {
    pub(crate) name: String,
    pub(crate) data_type: NodeId,
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Types {
    pub(crate) structures: Vec<Structure>,
    pub(crate) enumerations: Vec<Enumeration>,
    names: BTreeMap<String, Type>,
}

impl Types {
    pub(crate) fn new(
        specs: &BTreeMap<String, TypeSpec>,
        namespace: u16,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut types = Self::default();
        for (name, spec) in specs {
            let data_type = NodeId::text(namespace, name);
            let of = match spec {
                TypeSpec::Structure(_) => {
                    types.structures.push(Structure {
                        name: name.clone(),
                        data_type,
                        encoding: NodeId::text(namespace, &format!("{name}.Binary")),
                        fields: Vec::new(),
                    });
                    Type::Structure(types.structures.len() - 1)
                }
                TypeSpec::Enumeration(names) => {
                    types.enumerations.push(Enumeration {
                        name: name.clone(),
                        data_type,
                        names: names.clone(),
                    });
                    Type::Enumeration(types.enumerations.len() - 1)
                }
            };
            types.names.insert(name.clone(), of);
        }
        types.fill(specs, problems);
        types
    }

    /// The fields, when all names are known.
    fn fill(&mut self, specs: &BTreeMap<String, TypeSpec>, problems: &mut Vec<Problem>) {
        let mut next = 0;
        for (name, spec) in specs {
            let TypeSpec::Structure(fields) = spec else {
                continue;
            };
            let own = next;
            next += 1;
            for (at, field) in fields.iter().enumerate() {
                let path = format!("types.{name}.structure[{at}].type");
                match self.find(&field.of) {
                    // Only what stands before it, so that no structure holds itself.
                    Ok(Type::Structure(inner)) if inner >= own => problems.push(Problem::new(
                        path,
                        "a structure may hold those whose names come before its own",
                    )),
                    Ok(of) => self.structures[own].fields.push(Field {
                        name: field.name.clone(),
                        of,
                        array: field.array,
                    }),
                    Err(text) => problems.push(Problem::new(path, text)),
                }
            }
        }
    }

    pub(crate) fn find(&self, name: &str) -> Result<Type, String> {
        match self.names.get(name) {
            Some(of) => Ok(*of),
            None => name.parse().map(Type::Plain),
        }
    }

    /// The type of a variable by the node of its data type.
    pub(crate) fn of(&self, data_type: &NodeId, kind: Kind) -> Type {
        let structure = self
            .structures
            .iter()
            .position(|s| s.data_type == *data_type);
        let enumeration = self
            .enumerations
            .iter()
            .position(|e| e.data_type == *data_type);
        match (structure, enumeration) {
            (Some(at), _) => Type::Structure(at),
            (_, Some(at)) => Type::Enumeration(at),
            _ => Type::Plain(kind),
        }
    }

    pub(crate) fn kind(of: Type) -> Kind {
        match of {
            Type::Plain(kind) => kind,
            Type::Enumeration(_) => Kind::Int32,
            Type::Structure(_) => Kind::Extension,
        }
    }

    pub(crate) fn data_type(&self, of: Type) -> NodeId {
        match of {
            Type::Plain(kind) => kind.data_type(),
            Type::Enumeration(at) => self.enumerations[at].data_type.clone(),
            Type::Structure(at) => self.structures[at].data_type.clone(),
        }
    }

    /// Reads one literal of a type.
    pub(crate) fn scalar(&self, of: Type, json: &Json) -> Result<Scalar, String> {
        match of {
            Type::Plain(kind) => Scalar::from_json(kind, json),
            Type::Enumeration(at) => self.enumerator(at, json),
            Type::Structure(at) => {
                let mut writer = Writer::default();
                self.write(at, json, &mut writer)?;
                Ok(Scalar::Extension(Extension {
                    encoding: self.structures[at].encoding.clone(),
                    body: writer.bytes,
                }))
            }
        }
    }

    /// An enumerator by number or name.
    fn enumerator(&self, at: usize, json: &Json) -> Result<Scalar, String> {
        let names = &self.enumerations[at].names;
        let Some(name) = json.as_str() else {
            return Scalar::from_json(Kind::Int32, json);
        };
        let number = names.iter().position(|n| n == name);
        number
            .map(|n| Scalar::Int32(n as i32))
            .ok_or_else(|| format!("`{name}` is none of {}", names.join(", ")))
    }

    /// A structure is its fields one after the other (OPC 10000-6, 5.2.6).
    fn write(&self, at: usize, json: &Json, writer: &mut Writer) -> Result<(), String> {
        let structure = &self.structures[at];
        let object = json
            .as_object()
            .ok_or_else(|| format!("{json} is no {}", structure.name))?;
        if let Some(key) = object
            .keys()
            .find(|key| structure.fields.iter().all(|f| f.name != **key))
        {
            return Err(format!("{} has no field `{key}`", structure.name));
        }
        for field in &structure.fields {
            let value = object
                .get(&field.name)
                .ok_or_else(|| format!("the field `{}` is missing", field.name))?;
            if !field.array {
                self.write_one(field.of, value, writer)?;
                continue;
            }
            let list = value
                .as_array()
                .ok_or_else(|| format!("the field `{}` is a list", field.name))?;
            writer.length(list.len());
            for item in list {
                self.write_one(field.of, item, writer)?;
            }
        }
        Ok(())
    }

    /// Within a structure, an inner one has no header of its own.
    fn write_one(&self, of: Type, json: &Json, writer: &mut Writer) -> Result<(), String> {
        match of {
            Type::Structure(inner) => self.write(inner, json, writer),
            _ => {
                writer.scalar(&self.scalar(of, json)?);
                Ok(())
            }
        }
    }

    /// A value for people: structures as objects.
    pub(crate) fn to_json(&self, scalar: &Scalar) -> Json {
        let Scalar::Extension(extension) = scalar else {
            return scalar.to_json();
        };
        let known = self
            .structures
            .iter()
            .position(|s| s.encoding == extension.encoding);
        known
            .and_then(|at| self.read(at, &mut Reader::new(&extension.body)).ok())
            .unwrap_or_else(|| scalar.to_json())
    }

    fn read(&self, at: usize, reader: &mut Reader<'_>) -> Result<Json, Malformed> {
        let mut object = Map::new();
        for field in &self.structures[at].fields {
            let value = if field.array {
                Json::Array(reader.list(|r| self.read_one(field.of, r))?)
            } else {
                self.read_one(field.of, reader)?
            };
            object.insert(field.name.clone(), value);
        }
        Ok(Json::Object(object))
    }

    fn read_one(&self, of: Type, reader: &mut Reader<'_>) -> Result<Json, Malformed> {
        match of {
            Type::Structure(inner) => self.read(inner, reader),
            _ => Ok(reader.scalar(Self::kind(of))?.to_json()),
        }
    }
}
