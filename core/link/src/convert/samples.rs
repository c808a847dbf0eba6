use std::{collections::HashMap, sync::Arc};

use longshore_types::{DeviceName, DeviceSamples, PropertySample};

use super::reports::{domain_value, quality_code, quality_of, reason_code, reason_of, wire_value};
use crate::frame::DecodeError;
use crate::wire;

impl From<&DeviceSamples> for wire::Samples {
    fn from(batch: &DeviceSamples) -> Self {
        let mut properties: Vec<String> = Vec::new();
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut before = 0;
        let samples = batch.samples.iter().map(|sample| {
            let property = *known.entry(&*sample.property).or_insert_with(|| {
                properties.push(sample.property.to_string());
                // A device has far fewer properties than this.
                u32::try_from(properties.len() - 1).unwrap_or(u32::MAX)
            });
            let after_ms = sample.time_ms.wrapping_sub(before);
            before = sample.time_ms;
            wire::Sample {
                property,
                value: sample.value.as_ref().map(wire_value),
                quality: quality_code(sample.quality),
                reason: reason_code(sample.reason),
                after_ms,
            }
        });
        let samples = samples.collect();
        Self {
            namespace: batch.device.namespace().to_owned(),
            name: batch.device.name().to_owned(),
            uid: batch.uid.clone(),
            properties,
            samples,
        }
    }
}

impl TryFrom<wire::Samples> for DeviceSamples {
    type Error = DecodeError;

    fn try_from(batch: wire::Samples) -> Result<Self, DecodeError> {
        let device =
            DeviceName::new(&batch.namespace, &batch.name).map_err(|source| DecodeError::Name {
                field: "samples.name",
                source,
            })?;
        let properties: Vec<Arc<str>> = batch.properties.into_iter().map(Arc::from).collect();
        let mut time_ms = 0_i64;
        let samples = batch.samples.into_iter().map(|sample| {
            let property = usize::try_from(sample.property)
                .ok()
                .and_then(|index| properties.get(index))
                .ok_or(DecodeError::Invalid {
                    field: "samples.property",
                    value: sample.property.to_string(),
                })?;
            time_ms = time_ms.wrapping_add(sample.after_ms);
            Ok(PropertySample {
                property: Arc::clone(property),
                value: sample.value.map(domain_value),
                quality: quality_of(sample.quality),
                reason: reason_of(sample.reason),
                time_ms,
            })
        });
        Ok(Self {
            samples: samples.collect::<Result<_, DecodeError>>()?,
            device,
            uid: batch.uid,
        })
    }
}
