//! Every key that Longshore itself understands, in one table: the parsers take
//! their lists of known keys from it, and the reference pages are made of it.

/// A key and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its path below the free object; `[]` stands for each item of a list.
    pub path: &'static str,
    /// What may stand there.
    pub form: &'static str,
    /// What is taken where it is left out; empty where that says itself.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// How it is written.
    pub example: &'static str,
    /// Who acts on it.
    pub owner: Owner,
}

/// Who acts on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The twin engine; the mapper never sees it.
    Engine,
    /// The mapper, which gets it beside the configuration, by the same name in
    /// all protocols.
    Mapper,
    /// Both.
    Both,
}

const fn key(
    path: &'static str,
    form: &'static str,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        path,
        form,
        default,
        meaning,
        example,
        owner: Owner::Engine,
    }
}

impl Key {
    const fn of(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }
}

impl Owner {
    /// As the reference names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Mapper => "mapper",
            Self::Both => "both",
        }
    }
}

/// The paths of [`PROPERTY_KEYS`] alone: a program that reads keys need not
/// carry the texts of the reference.
pub const PROPERTY_PATHS: [&str; PROPERTY_KEYS.len()] = paths(PROPERTY_KEYS);
/// The paths of [`DEVICE_KEYS`] alone.
pub const DEVICE_PATHS: [&str; DEVICE_KEYS.len()] = paths(DEVICE_KEYS);

const fn paths<const N: usize>(table: &[Key]) -> [&'static str; N] {
    let mut paths = [""; N];
    let mut at = 0;
    while at < N {
        paths[at] = table[at].path;
        at += 1;
    }
    paths
}

/// The names directly below `parent` (`write`, `events[]`, or empty for the
/// top) among some paths.
pub fn below(paths: &[&'static str], parent: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for path in paths {
        let rest = match parent {
            "" => Some(*path),
            parent => path
                .strip_prefix(parent)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(rest) = rest else { continue };
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        if !names.contains(&&rest[..end]) {
            names.push(&rest[..end]);
        }
    }
    names
}

/// Keys of `visitors.configData` of a property.
#[rustfmt::skip]
pub const PROPERTY_KEYS: &[Key] = &[
    key("mask", "whole number, or text `0x00F0`", "none", "0x00F0", "which bits of a whole raw value count. A write changes only these bits: the value is read first and the others are written back as they are"),
    key("shift", "whole number, -63 to 63", "0", "4", "moves the bits to the right after `mask`, a negative one to the left"),
    key("scale", "number, not 0", "1", "0.1", "twin = raw × scale + offset"),
    key("offset", "number", "0", "-40", "see `scale`. Beside `register`, `table` or `limit` it is the address of a register and left to the mapper, as in KubeEdge's Modbus vocabulary"),
    key("transform", "`{scale, offset}`", "", "{scale: 0.1}", "the same two, where `offset` means an address"),
    key("transform.scale", "number, not 0", "1", "0.1", "see `scale`"),
    key("transform.offset", "number", "0", "-40", "see `offset`"),
    key("expression", "expression of `x`", "none", "x * 1.8 + 32", "the twin's value, where `x` is the raw value after `mask` and `shift`; a number is a double. Instead of `scale`, `offset` and `enum`"),
    key("inverse", "expression of `x`", "none", "(x - 32) / 1.8", "the raw value, where `x` is the twin's. Needed where a property with `expression` is written; checked against it over minimum to maximum (or -1000 to 1000) when the device is loaded"),
    key("enum", "`{\"0\": \"Off\", \"1\": \"On\"}`", "none", "{\"0\": \"Off\", \"1\": \"On\"}", "names of raw whole numbers; a property of type STRING then has the name as its value, one of type INT the number. Quote the names: YAML reads a bare `Off` as false"),
    key("badWhen", "expression of `x`", "none", "x == 0x8000", "raw values that say \"no value\", such as a sensor's fault codes; the twin is then bad with reason `sensor`. `x` is the raw value before `mask`"),
    key("onViolation", "`flagBad`, `clamp`, `reject`", "`flagBad`", "clamp", "a reading outside of the model's `minimum` and `maximum` is reported as bad, or replaced by the bound, or dropped"),
    key("collectCycle", "duration", "1s", "10s", "time between two reads, where the Device's own `collectCycle` is 0 or left out: so a model says how often its devices are read"),
    key("staleAfter", "duration", "3 cycles, at least 5 s; none where devices may send by themselves, unless `sampling: poll`", "5s", "without a reading for so long the value becomes uncertain"),
    key("sampling", "`poll`, `subscribe`, `notify`", "as the protocol finds best", "subscribe", "whether the mapper asks in each interval, or the device sends by itself").of(Owner::Mapper),
    key("group", "name", "none", "energy", "properties of one group are read as one snapshot, and reported together with one time").of(Owner::Both),
    key("report", "object", "", "{mode: change, maxInterval: 1m}", "when a reading is reported; the keys below may also stand without `report`"),
    key("report.mode", "`change`, `always`", "`change`", "always", "`always` reports each reading"),
    key("report.deadband", "see `deadband`", "0", "0.2", "see `deadband`"),
    key("report.minInterval", "duration", "0", "1s", "see `minInterval`"),
    key("report.maxInterval", "duration", "1 minute", "5m", "see `maxInterval`"),
    key("report.history", "true or false", "false", "true", "everything that is reported of it, bad and stale values too, is kept for the hub and reaches it in order and once, also what was read while the link was down"),
    key("deadband", "number, or `{abs, percent}`", "0", "0.2", "smaller changes are not reported"),
    key("deadband.abs", "number", "0", "0.2", "in the twin's unit"),
    key("deadband.percent", "number", "0", "1", "in percent of the last report"),
    key("minInterval", "duration", "0", "1s", "shortest time between two reports"),
    key("maxInterval", "duration", "1 minute", "5m", "longest time between two reports, changed or not"),
    key("write", "object", "", "{tolerance: 0.05, retries: 5}", "how a value is written"),
    key("write.confirm", "`readback`, `none`", "`readback`", "none", "a write is confirmed when the value has been read back, or when the device has accepted it"),
    key("write.tolerance", "number", "0", "0.05", "how far the value that is read back may be off"),
    key("write.timeout", "duration", "3s", "500ms", "time for one try, reading back included"),
    key("write.timeoutMs", "duration", "3s", "500", "the same as `write.timeout`"),
    key("write.retries", "whole number", "3", "5", "further tries of a state that did not reach the device; a refusal is not tried again, and a command never is"),
    key("write.command", "true or false", "false; true by itself for what can only be written", "true", "each new value is a command: written once at most, whatever breaks or restarts. Its outcome is `confirmed`, `failed` or `unknown`; its reported value is what was commanded last, and it is not read").of(Owner::Both),
    key("write.expires", "duration", "2m", "30s", "a command whose device is away is given up after so long, and never sent"),
    key("write.onReturn", "`keep`, `restore`", "`keep`", "restore", "a confirmed value, when the device comes back with another one: what the device has stands, or the value is written again, for devices that forget"),
    key("write.repeat", "duration, at least 100ms", "none", "10s", "a confirmed value is written again after so long, whatever the device shows: for a device with a watchdog"),
    key("write.priority", "`high`, `normal`, `low`", "`normal`", "high", "which writes go first where several wait for a bus").of(Owner::Mapper),
];

/// Keys of a model's `protocolConfigData` and of a device's `protocol.configData`.
#[rustfmt::skip]
pub const DEVICE_KEYS: &[Key] = &[
    key("groups", "list", "none", "", "properties that are read as one snapshot; the same as `group` on each of them"),
    key("groups[].name", "name", "", "energy", "the group's name"),
    key("groups[].properties", "list of names", "", "[kwh, kw]", "its properties"),
    key("groups[].interval", "duration", "each property's own", "10s", "time between two reads, over the properties' `collectCycle`"),
    key("connect", "list", "none", "", "what is written after each connecting, in this order, before anything is read or sent by itself: control points that a sensor forgets. The device's list counts in place of the model's").of(Owner::Both),
    key("connect[].write", "property", "", "streaming", "the property that is written"),
    key("connect[].value", "value of the property", "", "1", "the value, as a desired value has it"),
    key("methods", "list", "none", "", "what can be called: writes in order, a call of the protocol, or both"),
    key("methods[].name", "name", "", "setMode", "the method's name"),
    key("methods[].description", "text", "", "Starts the pump", "for people"),
    key("methods[].timeout", "duration", "30s", "10s", "time for the whole call"),
    key("methods[].parameters", "list", "none", "", "what it is called with"),
    key("methods[].parameters[].name", "name", "", "level", "the parameter's name"),
    key("methods[].parameters[].type", "`INT`, `FLOAT`, `DOUBLE`, `STRING`, `BOOLEAN`", "", "FLOAT", "the parameter's type. A list, a matrix or a structure is a STRING: the caller gives it as JSON, or as text with JSON in it"),
    key("methods[].parameters[].minimum", "number", "none", "20", "the least value"),
    key("methods[].parameters[].maximum", "number", "none", "90", "the greatest value"),
    key("methods[].parameters[].enum", "list of values", "none", "[eco, boost]", "the only values"),
    key("methods[].parameters[].default", "value", "none", "eco", "taken where the caller leaves it out; without it the parameter is required"),
    key("methods[].steps", "list", "none", "", "what is written, in this order, each value once at most; each write is confirmed before the next one. Nothing of it is kept as a desired value"),
    key("methods[].steps[].write", "property", "", "setpoint", "the property that is written"),
    key("methods[].steps[].value", "expression of the parameters, or `\"{parameter}\"`", "", "level * 0.5", "the value. A text stands in quotes: `\"'eco'\"`"),
    key("methods[].call", "free object", "none", "{node: \"ns=2;s=Reset\"}", "the protocol's own call, after the steps; its keys are the mapper's").of(Owner::Mapper),
    key("methods[].confirm", "object", "none", "", "what has to be read at the end"),
    key("methods[].confirm.property", "property", "", "modeFeedback", "the property that shows it"),
    key("methods[].confirm.value", "expression of the parameters, or `\"{parameter}\"`", "", "\"{mode}\"", "the value that it must show"),
    key("methods[].confirm.timeout", "duration", "5s", "10s", "how long it may take"),
    key("events", "list", "none", "", "conditions that somebody should know of"),
    key("events[].name", "name", "", "overTemperature", "the event's name"),
    key("events[].when", "expression of properties", "", "temperature > 90 && heating", "sets the event"),
    key("events[].clear", "expression of properties", "when `when` does not hold", "temperature < 85", "clears it, unless `when` holds as well"),
    key("events[].severity", "`info`, `minor`, `major`, `critical`", "`minor`", "major", "how bad it is"),
    key("events[].message", "text", "", "boiler at {temperature} °C", "for people; `{property}` becomes its value"),
    key("events[].delay", "duration", "0", "10s", "`when` has to hold for so long"),
];
