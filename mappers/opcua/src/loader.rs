//! Bodies of structures, each within its own length.
//!
//! The library reads a structure that it knows without looking at how long it is said
//! to be: one byte too many, as of a later edition of the specification, and all that
//! comes behind it in the answer is read askew. And what it cannot read costs the
//! whole answer. Here a body ends where it ends; what is not read to its end stays
//! bytes, and whoever shows them says so.

use std::io::Read;

use opcua::types::{
    BinaryDecodable, ByteString, ByteStringBody, Context, DataChangeNotification, DynEncodable,
    EncodingResult, Error, GeneratedTypeLoader, NodeId, ObjectId, TypeLoader, TypeLoaderCollection,
    TypeLoaderPriority,
};

struct Exact;

/// All that is decoded goes through it.
pub(crate) fn loaders() -> TypeLoaderCollection {
    let mut loaders = TypeLoaderCollection::new_empty();
    loaders.add_type_loader(Exact);
    loaders
}

impl TypeLoader for Exact {
    fn load_from_binary(
        &self,
        node_id: &NodeId,
        mut stream: &mut dyn Read,
        context: &Context<'_>,
        length: Option<usize>,
    ) -> Option<EncodingResult<Box<dyn DynEncodable>>> {
        let length = length.unwrap_or(0);
        let changes_id = ObjectId::DataChangeNotification_Encoding_DefaultBinary as u32;
        if node_id.namespace == 0 && node_id.as_u32() == Some(changes_id) {
            return Some(changes(stream, context, length));
        }
        let mut body = Vec::new();
        // As much as there is, and not as much as is said.
        let read = Read::take(&mut stream, length as u64).read_to_end(&mut body);
        if read.is_err() || body.len() != length {
            return Some(Err(Error::decoding("the body of a structure ends early")));
        }
        let mut rest = body.as_slice();
        let known = match node_id.as_u32() {
            Some(_) => GeneratedTypeLoader.load_from_binary(node_id, &mut rest, context, None),
            None => None,
        };
        Some(Ok(match known {
            Some(Ok(known)) if rest.is_empty() => known,
            _ => Box::new(ByteStringBody::new(ByteString::from(body), node_id.clone())),
        }))
    }

    fn priority(&self) -> TypeLoaderPriority {
        TypeLoaderPriority::Core
    }
}

/// Values of watched nodes, without a copy of them between.
fn changes(
    mut stream: &mut dyn Read,
    context: &Context<'_>,
    length: usize,
) -> EncodingResult<Box<dyn DynEncodable>> {
    let mut body = Read::take(&mut stream, length as u64);
    let changes = DataChangeNotification::decode(&mut body, context)?;
    let broken = |error| Error::decoding(format!("a notification ends early: {error}"));
    std::io::copy(&mut body, &mut std::io::sink()).map_err(broken)?;
    Ok(Box::new(changes))
}

#[cfg(test)]
mod tests {
    use opcua::types::{
        BinaryEncodable, ContextOwned, DecodingOptions, ExtensionObject, NamespaceMap, Range,
        Variant,
    };

    use super::*;

    /// A Range of a later edition with a byte more, and a value behind it.
    #[test]
    fn a_body_that_is_longer_does_not_spoil_what_comes_behind_it() {
        let context = ContextOwned::new(NamespaceMap::new(), loaders(), DecodingOptions::default());
        let context = context.context();
        let range = ExtensionObject::from_message(Range {
            low: 1.0,
            high: 2.0,
        });
        let mut bytes = range.encode_to_vec(&context);
        Variant::Int32(7)
            .encode(&mut bytes, &context)
            .expect("written");
        let mut stream = bytes.as_slice();
        let read = ExtensionObject::decode(&mut stream, &context).expect("read");
        assert_eq!(read.inner_as::<Range>().map(|range| range.high), Some(2.0));
        assert_eq!(
            Variant::decode(&mut stream, &context).expect("read"),
            Variant::Int32(7)
        );
        // Node id (4 bytes), encoding (1), length (4), body (16).
        bytes[5] += 1;
        bytes.insert(25, 0xFF);
        let mut stream = bytes.as_slice();
        let read = ExtensionObject::decode(&mut stream, &context).expect("read");
        assert!(read.inner_is::<ByteStringBody>(), "{read:?}");
        assert_eq!(
            Variant::decode(&mut stream, &context).expect("read"),
            Variant::Int32(7)
        );
        // And one that is shorter than it says.
        bytes[5] = 200;
        assert!(ExtensionObject::decode(&mut bytes.as_slice(), &context).is_err());
    }
}
