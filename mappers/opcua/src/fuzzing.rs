//! Ways in for tests/fuzz: what a server's bytes come to, without a server.

use std::{path::Path, sync::Arc};

use longshore_sdk::Samples;
use opcua::{
    core::{
        ResponseMessage,
        comms::{
            chunker::Chunker,
            secure_channel::{Role, SecureChannel},
            tcp_codec::{Message, TcpCodec},
        },
    },
    crypto::CertificateStore,
    sync::RwLock,
    types::{BinaryDecodable, DataValue, NodeId, NumericRange, StructureDefinition},
};
use tokio_util::{bytes::BytesMut, codec::Decoder as _};

use crate::{
    bounded::Chunks,
    bus::Bounds,
    channel::context,
    codec::Decoder,
    node::{NodeName, Place},
    point::{Field, VALUE, Watch},
    structure::Types,
};

/// A value, its structures described by what stands before it, as samples of points
/// that mean all of it and parts of it. Gives how many samples came, and of how many
/// points.
pub fn value(data: &[u8]) -> (usize, usize) {
    let types = Types::new(context(&Bounds::default()));
    let context = context(&Bounds::default());
    let context = context.context();
    let mut stream = data;
    let Ok(count) = u8::decode(&mut stream, &context) else {
        return (0, 0);
    };
    for id in 0..count % 8 {
        let Ok(definition) = StructureDefinition::decode(&mut stream, &context) else {
            return (0, 0);
        };
        let (data_type, encoding) = (u32::from(id) + 10, u32::from(id) + 100);
        types.describe(
            NodeId::new(2, data_type),
            NodeId::new(2, encoding),
            &definition,
        );
    }
    let Ok(value) = DataValue::decode(&mut stream, &context) else {
        return (0, 0);
    };
    let decoder = Decoder {
        types: &types,
        now_ns: 0,
    };
    types.missing(&value);
    let mut samples = Samples::default();
    let elements = ["", "[0]", "[1][0]", "a", "a[0].b"];
    for element in elements {
        let field = Field {
            place: Place::node(NodeName::standard(1)),
            attribute: VALUE,
            range: NumericRange::None,
            element: Field::steps(element).unwrap_or_default(),
            raw_type: None,
            watch: Watch {
                queue_size: 1,
                deadband: None,
                sampling_ms: None,
                publishing_ms: None,
            },
            polled: false,
        };
        decoder.push(1, &field, &value, &mut samples);
    }
    (samples.len(), elements.len())
}

thread_local! {
    /// It looks for certificates on the disk, in a folder that nobody has.
    static CHANNEL: SecureChannel = {
        let store = CertificateStore::new(Path::new("/nonexistent"));
        SecureChannel::new(
            Arc::new(RwLock::new(store)),
            Role::Client,
            Arc::new(RwLock::new(context(&Bounds::default()))),
        )
    };
}

/// What a server sends on a channel without security: chunks, and the messages that
/// they are. Gives whether the connection lives on.
pub fn stream(data: &[u8]) -> bool {
    if Chunks::new(u32::from(u16::MAX)).follow(data).is_err() {
        return false;
    }
    CHANNEL.with(|channel| follow(channel, data))
}

fn follow(channel: &SecureChannel, data: &[u8]) -> bool {
    let options = channel.decoding_options();
    let mut codec = TcpCodec::new(options.clone());
    let mut buffer = BytesMut::from(data);
    let mut chunks = Vec::new();
    loop {
        let message = match codec.decode(&mut buffer) {
            Ok(Some(message)) => message,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let Message::Chunk(chunk) = message else {
            continue;
        };
        let Ok(chunk) = channel.verify_and_remove_security(chunk.data) else {
            return false;
        };
        let Ok(info) = chunk.chunk_info(channel) else {
            return false;
        };
        // What an aborted message says of it.
        let _ = chunk.final_error_body(&info, &options);
        chunks.push(chunk);
        if Chunker::validate_chunks(channel, &chunks).is_err()
            || Chunker::decode::<ResponseMessage>(&chunks, channel, None).is_ok()
            || chunks.len() > 8
        {
            chunks.clear();
        }
    }
}
