//! The devices that a mapper is judged with.

use serde_json::{Map, Value, json};

/// Points of device `n` have ids from `n * IDS` on.
const IDS: u32 = 100;
/// More points than this of one device are left out.
const POINTS: usize = 50;

/// Devices to configure, the best first.
pub(crate) struct Devices {
    given: Vec<Value>,
    examples: Vec<Value>,
    schema: Option<Value>,
}

/// A device as `COMMAND_CONFIGURE` has it, with ids of the judge's own.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) id: u32,
    pub(crate) config: Value,
}

impl Devices {
    pub(crate) fn new(given: &[Value], schema: Option<&str>) -> Self {
        let schema: Option<Value> = schema.and_then(|text| serde_json::from_str(text).ok());
        Self {
            given: given.to_vec(),
            examples: schema.as_ref().map(from_examples).unwrap_or_default(),
            schema,
        }
    }

    /// A device to configure: one that was given, else an example of the
    /// schema, else one of which nothing is known.
    pub(crate) fn any(&self) -> Value {
        self.given
            .first()
            .or(self.examples.first())
            .cloned()
            .unwrap_or_else(Self::nowhere)
    }

    /// A device that is nowhere: what is changed in it by chance reaches nobody.
    pub(crate) fn nowhere() -> Value {
        json!({
            "device": "conformance/unknown", "protocol": {},
            "points": [
                {"name": "first", "writable": true, "type": "INT", "config": {}},
                {"name": "second", "writable": true, "type": "INT", "config": {}},
            ],
        })
    }

    /// Whether somebody said that there is a device which answers.
    pub(crate) fn was_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// The schema of a part: `device`, `property`, `mapper`, …
    pub(crate) fn schema(&self, part: &str) -> Option<&Value> {
        self.schema.as_ref()?.get(part)
    }
}

impl Device {
    /// The device number `id`, made from `base`: its points get ids that no
    /// other device has, and this interval.
    pub(crate) fn new(base: &Value, id: u32, interval_ms: u64) -> Self {
        let mut config = base.clone();
        if let Some(config) = config.as_object_mut() {
            let name = config.get("device").and_then(Value::as_str).unwrap_or("a");
            let name = format!("conformance/{}-{id}", name.replace('/', "-"));
            config.insert("device".to_owned(), name.into());
            let points = config
                .entry("points")
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Some(points) = points.as_array_mut() {
                points.truncate(POINTS);
                for (i, point) in points.iter_mut().enumerate() {
                    let Some(point) = point.as_object_mut() else {
                        continue;
                    };
                    let mut fresh = Map::new();
                    fresh.insert("id".to_owned(), (id * IDS + i as u32).into());
                    fresh.insert("intervalMs".to_owned(), interval_ms.into());
                    let rest = std::mem::take(point);
                    fresh.extend(
                        rest.into_iter()
                            .filter(|(key, _)| key != "id" && key != "intervalMs"),
                    );
                    fresh
                        .entry("name")
                        .or_insert_with(|| format!("p{i}").into());
                    fresh.entry("writable").or_insert(false.into());
                    fresh.entry("type").or_insert("INT".into());
                    fresh.entry("config").or_insert_with(|| json!({}));
                    *point = fresh;
                }
            }
        }
        Self { id, config }
    }

    /// The ids of its points.
    pub(crate) fn points(&self) -> Vec<u32> {
        let points = self.config["points"].as_array();
        points
            .into_iter()
            .flatten()
            .filter_map(|point| u32::try_from(point["id"].as_u64()?).ok())
            .collect()
    }

    /// Ids and names of the points that say they are writable.
    pub(crate) fn writable(&self) -> Vec<(u32, String)> {
        let points = self.config["points"].as_array();
        points
            .into_iter()
            .flatten()
            .filter(|point| point["writable"] == true)
            .filter_map(|point| {
                let id = u32::try_from(point["id"].as_u64()?).ok()?;
                Some((id, point["name"].as_str()?.to_owned()))
            })
            .collect()
    }

    /// With this under a key of each point.
    pub(crate) fn with(&self, key: &str, value: &Value) -> Self {
        let mut other = self.clone();
        let points = other.config["points"].as_array_mut();
        for point in points.into_iter().flatten() {
            point[key] = value.clone();
        }
        other
    }

    /// Without this point.
    pub(crate) fn without(&self, point: u32) -> Self {
        let mut shorter = self.clone();
        if let Some(points) = shorter.config["points"].as_array_mut() {
            points.retain(|other| other["id"] != point);
        }
        shorter
    }

    /// Without its last point.
    pub(crate) fn shorter(&self) -> Self {
        let mut shorter = self.clone();
        if let Some(points) = shorter.config["points"].as_array_mut() {
            points.pop();
        }
        shorter
    }

    /// With one more point, whose configuration is this.
    pub(crate) fn with_point(&self, config: Value) -> Self {
        let mut longer = self.clone();
        if let Some(points) = longer.config["points"].as_array_mut() {
            let id = self.id * IDS + points.len() as u32;
            points.push(json!({
                "id": id, "intervalMs": 0, "name": format!("p{id}"), "writable": false,
                "type": "FLOAT", "config": config,
            }));
        }
        longer
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        self.config.to_string().into_bytes()
    }
}

/// Devices made from the examples in the schema's parts.
fn from_examples(schema: &Value) -> Vec<Value> {
    let examples = |part: &str| {
        schema[part]["examples"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let points: Vec<Value> = examples("property")
        .into_iter()
        .enumerate()
        .map(|(i, config)| {
            json!({"name": format!("example{i}"), "writable": false, "type": "FLOAT", "config": config})
        })
        .collect();
    examples("device")
        .into_iter()
        .map(|protocol| {
            json!({"device": "conformance/example", "protocol": protocol, "points": points})
        })
        .collect()
}
