//! Structures of namespace 0, by the specification: a server that does not describe
//! them, as many small ones do not, still sends them.

use opcua::types::{
    DataTypeId, NodeId, ObjectId, StructureDefinition, StructureField, StructureType,
};

/// Built-in types (OPC 10000-6, 5.1.2), by their numbers.
const BOOLEAN: u32 = 1;
const BYTE: u32 = 3;
const INT16: u32 = 4;
const INT32: u32 = 6;
const UINT32: u32 = 7;
const INT64: u32 = 8;
const FLOAT: u32 = 10;
const DOUBLE: u32 = 11;
const STRING: u32 = 12;
const DATE_TIME: u32 = 13;
const BYTE_STRING: u32 = 15;
const NODE_ID: u32 = 17;
const LOCALIZED_TEXT: u32 = 21;
/// Structures in structures.
const RANGE: u32 = DataTypeId::Range as u32;
const UNIT: u32 = DataTypeId::EUInformation as u32;
const BUILD_INFO: u32 = DataTypeId::BuildInfo as u32;
const COORDINATES: u32 = DataTypeId::ThreeDCartesianCoordinates as u32;
const ORIENTATION: u32 = DataTypeId::ThreeDOrientation as u32;

/// A field: its name, its type, and whether it is an array.
type Field = (&'static str, u32, bool);

const fn one(name: &'static str, data_type: u32) -> Field {
    (name, data_type, false)
}

const fn many(name: &'static str, data_type: u32) -> Field {
    (name, data_type, true)
}

/// Data type, binary encoding, fields. An enumeration is an Int32, as on the wire.
#[rustfmt::skip]
const ALL: &[(DataTypeId, ObjectId, &[Field])] = &[
    // Part 3, section 8.
    (DataTypeId::Argument, ObjectId::Argument_Encoding_DefaultBinary, &[
        one("Name", STRING), one("DataType", NODE_ID), one("ValueRank", INT32), many("ArrayDimensions", UINT32), one("Description", LOCALIZED_TEXT)]),
    (DataTypeId::EnumValueType, ObjectId::EnumValueType_Encoding_DefaultBinary, &[
        one("Value", INT64), one("DisplayName", LOCALIZED_TEXT), one("Description", LOCALIZED_TEXT)]),
    (DataTypeId::TimeZoneDataType, ObjectId::TimeZoneDataType_Encoding_DefaultBinary, &[
        one("Offset", INT16), one("DaylightSavingInOffset", BOOLEAN)]),
    (DataTypeId::OptionSet, ObjectId::OptionSet_Encoding_DefaultBinary, &[
        one("Value", BYTE_STRING), one("ValidBits", BYTE_STRING)]),
    // Part 5, section 12.
    (DataTypeId::BuildInfo, ObjectId::BuildInfo_Encoding_DefaultBinary, &[
        one("ProductUri", STRING), one("ManufacturerName", STRING), one("ProductName", STRING), one("SoftwareVersion", STRING), one("BuildNumber", STRING), one("BuildDate", DATE_TIME)]),
    (DataTypeId::ServerStatusDataType, ObjectId::ServerStatusDataType_Encoding_DefaultBinary, &[
        one("StartTime", DATE_TIME), one("CurrentTime", DATE_TIME), one("State", INT32), one("BuildInfo", BUILD_INFO), one("SecondsTillShutdown", UINT32), one("ShutdownReason", LOCALIZED_TEXT)]),
    (DataTypeId::RedundantServerDataType, ObjectId::RedundantServerDataType_Encoding_DefaultBinary, &[
        one("ServerId", STRING), one("ServiceLevel", BYTE), one("ServerState", INT32)]),
    (DataTypeId::SamplingIntervalDiagnosticsDataType, ObjectId::SamplingIntervalDiagnosticsDataType_Encoding_DefaultBinary, &[
        one("SamplingInterval", DOUBLE), one("MonitoredItemCount", UINT32), one("MaxMonitoredItemCount", UINT32), one("DisabledMonitoredItemCount", UINT32)]),
    (DataTypeId::ServerDiagnosticsSummaryDataType, ObjectId::ServerDiagnosticsSummaryDataType_Encoding_DefaultBinary, &[
        one("ServerViewCount", UINT32), one("CurrentSessionCount", UINT32), one("CumulatedSessionCount", UINT32), one("SecurityRejectedSessionCount", UINT32), one("RejectedSessionCount", UINT32), one("SessionTimeoutCount", UINT32), one("SessionAbortCount", UINT32), one("CurrentSubscriptionCount", UINT32), one("CumulatedSubscriptionCount", UINT32), one("PublishingIntervalCount", UINT32), one("SecurityRejectedRequestsCount", UINT32), one("RejectedRequestsCount", UINT32)]),
    (DataTypeId::ServiceCounterDataType, ObjectId::ServiceCounterDataType_Encoding_DefaultBinary, &[
        one("TotalCount", UINT32), one("ErrorCount", UINT32)]),
    (DataTypeId::RationalNumber, ObjectId::RationalNumber_Encoding_DefaultBinary, &[
        one("Numerator", INT32), one("Denominator", UINT32)]),
    (DataTypeId::ThreeDVector, ObjectId::ThreeDVector_Encoding_DefaultBinary, &[
        one("X", DOUBLE), one("Y", DOUBLE), one("Z", DOUBLE)]),
    (DataTypeId::ThreeDCartesianCoordinates, ObjectId::ThreeDCartesianCoordinates_Encoding_DefaultBinary, &[
        one("X", DOUBLE), one("Y", DOUBLE), one("Z", DOUBLE)]),
    (DataTypeId::ThreeDOrientation, ObjectId::ThreeDOrientation_Encoding_DefaultBinary, &[
        one("A", DOUBLE), one("B", DOUBLE), one("C", DOUBLE)]),
    (DataTypeId::ThreeDFrame, ObjectId::ThreeDFrame_Encoding_DefaultBinary, &[
        one("CartesianCoordinates", COORDINATES), one("Orientation", ORIENTATION)]),
    // Part 8, section 5.6.
    (DataTypeId::Range, ObjectId::Range_Encoding_DefaultBinary, &[
        one("Low", DOUBLE), one("High", DOUBLE)]),
    (DataTypeId::EUInformation, ObjectId::EUInformation_Encoding_DefaultBinary, &[
        one("NamespaceUri", STRING), one("UnitId", INT32), one("DisplayName", LOCALIZED_TEXT), one("Description", LOCALIZED_TEXT)]),
    (DataTypeId::AxisInformation, ObjectId::AxisInformation_Encoding_DefaultBinary, &[
        one("EngineeringUnits", UNIT), one("EURange", RANGE), one("Title", LOCALIZED_TEXT), one("AxisScaleType", INT32), many("AxisSteps", DOUBLE)]),
    (DataTypeId::XVType, ObjectId::XVType_Encoding_DefaultBinary, &[
        one("X", DOUBLE), one("Value", FLOAT)]),
    (DataTypeId::ComplexNumberType, ObjectId::ComplexNumberType_Encoding_DefaultBinary, &[
        one("Real", FLOAT), one("Imaginary", FLOAT)]),
    (DataTypeId::DoubleComplexNumberType, ObjectId::DoubleComplexNumberType_Encoding_DefaultBinary, &[
        one("Real", DOUBLE), one("Imaginary", DOUBLE)]),
];

fn is(node: &NodeId, number: u32) -> bool {
    node.namespace == 0 && node.as_u32() == Some(number)
}

/// The data type of a binary encoding.
pub(crate) fn data_type_of(encoding: &NodeId) -> Option<NodeId> {
    let found = ALL.iter().find(|(_, known, _)| is(encoding, *known as u32));
    found.map(|(data_type, ..)| NodeId::from(*data_type))
}

/// The fields of a structure.
pub(crate) fn definition(data_type: &NodeId) -> Option<StructureDefinition> {
    let found = ALL.iter().find(|(known, ..)| is(data_type, *known as u32));
    let (_, encoding, fields) = found?;
    let fields = fields.iter().map(|(name, kind, is_array)| StructureField {
        name: (*name).into(),
        data_type: NodeId::new(0, *kind),
        value_rank: if *is_array { 1 } else { -1 },
        ..StructureField::default()
    });
    Some(StructureDefinition {
        default_encoding_id: NodeId::from(*encoding),
        base_data_type: NodeId::new(0, 22_u32),
        structure_type: StructureType::Structure,
        fields: Some(fields.collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_built_in_or_stand_here_themselves() {
        for (data_type, encoding, fields) in ALL {
            let id = NodeId::from(*data_type);
            assert_eq!(data_type_of(&NodeId::from(*encoding)), Some(id.clone()));
            assert_eq!(
                definition(&id)
                    .and_then(|it| it.fields)
                    .map(|all| all.len()),
                Some(fields.len())
            );
            for (name, kind, _) in *fields {
                let is_known = *kind <= 25 || definition(&NodeId::new(0, *kind)).is_some();
                assert!(is_known, "{name} of {data_type:?}");
            }
        }
        assert!(definition(&NodeId::new(2, 884_u32)).is_none());
    }
}
