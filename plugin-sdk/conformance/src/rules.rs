//! The rules: their names, what they say, and how they are judged.

mod commands;
mod configuration;
mod create;
mod emitting;
mod ending;
mod file;
mod kinds;
mod order;
mod pushing;
mod survival;

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::child::Context;

/// Why a rule was not found to be kept.
#[derive(Debug)]
pub(crate) enum Finding {
    /// What was seen against it.
    Broken(String),
    /// Why it could not be judged.
    NotJudged(String),
}

pub(crate) type Found = Result<(), Finding>;

pub(crate) fn broken(why: impl Into<String>) -> Found {
    Err(Finding::Broken(why.into()))
}

/// How a rule is judged.
#[derive(Clone, Copy)]
pub(crate) enum Judge {
    /// By the file alone.
    File(fn(&Path) -> Found),
    /// By running the mapper.
    Mapper(fn(&Context) -> Found),
}

pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) contract: &'static [u8],
    pub(crate) text: &'static str,
    pub(crate) hint: &'static str,
    /// A child that has not ended by then hangs.
    pub(crate) limit: Duration,
    pub(crate) judge: Judge,
    pub(crate) strength: Strength,
    /// It writes to the device, where it may.
    pub(crate) writes: bool,
}

/// How much a rule weighs, in the contract's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Strength {
    /// A mapper that breaks it does not conform.
    Must,
    /// A mapper should keep it, and conforms all the same.
    Should,
}

/// What a rule says.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleFacts {
    /// Its name, which stays the same for ever.
    pub id: &'static str,
    /// Numbers in `plugin-sdk/CONTRACT.md`.
    pub contract: &'static [u8],
    /// The rule in one sentence.
    pub text: &'static str,
    /// Whether it is a MUST or a SHOULD.
    pub strength: Strength,
}

/// All rules, in the order of the contract's chapters.
pub fn rules() -> impl Iterator<Item = RuleFacts> {
    RULES.iter().map(|rule| RuleFacts {
        id: rule.id,
        contract: rule.contract,
        text: rule.text,
        strength: rule.strength,
    })
}

pub(crate) fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// The rule that says why a library cannot be loaded.
pub(crate) const TABLE_RULE: &str = "entry-and-table";

const LIMIT: Duration = Duration::from_secs(60);

const fn rule(
    id: &'static str,
    contract: &'static [u8],
    judge: Judge,
    text: &'static str,
    hint: &'static str,
) -> Rule {
    Rule {
        id,
        contract,
        text,
        hint,
        limit: LIMIT,
        judge,
        strength: Strength::Must,
        writes: false,
    }
}

const fn writing(mut rule: Rule) -> Rule {
    rule.writes = true;
    rule
}

const fn should(mut rule: Rule) -> Rule {
    rule.strength = Strength::Should;
    rule
}

use Judge::{File, Mapper};

#[rustfmt::skip] // A table: one rule, three lines.
pub(crate) static RULES: &[Rule] = &[
    rule("descriptor", &[1], File(file::descriptor),
        "The file is an ELF shared library of this machine with one descriptor in `.longshore_mapper`",
        "use export_mapper! (Rust) or LONGSHORE_MAPPER_DESCRIPTOR (C), and build for this machine"),
    rule("descriptor-texts", &[1], File(file::texts),
        "The descriptor's name is of [a-z0-9-], its version three numbers, its protocol and target not empty",
        "see `Descriptor` in longshore_mapper.h for what each field holds"),
    rule(TABLE_RULE, &[1, 2], File(file::table),
        "The library exports `longshore_mapper_entry`, whose table is complete and of this major version",
        "export the function without name mangling, and set size, abi_major and all four functions"),
    rule("versions-agree", &[2], File(file::versions),
        "Descriptor and table of functions state the same version of the contract",
        "set both from the ABI_MAJOR and ABI_MINOR of the header that was compiled"),
    rule("schema", &[41], File(file::schema),
        "A schema in `.longshore_schema` is a JSON object that names the descriptor's protocol and has the parts `device` and `property`, with examples that keep to it",
        "generate it with longshore_sdk::schema::Document, which has the parts as fields"),

    rule("create-works-or-says-why", &[11], Mapper(create::works_or_says_why),
        "`create` makes an instance and answers OK, or makes none and says what is wrong in ErrorText, within 10 s",
        "answer STATUS_INVALID_CONFIG with every fault of the configuration, at its key path"),
    rule("create-emits-nothing", &[11], Mapper(create::emits_nothing),
        "`create` does not emit",
        "emit from the first command on"),
    rule("created-beside-another", &[4, 11], Mapper(create::beside_another),
        "An instance can be made while another one lives, as the next version of a library is",
        "take ports, files and connections when a device is configured, not in `create`"),
    rule("error-text-keeps-to-its-size", &[7], Mapper(create::error_text),
        "A mapper writes no more of ErrorText than its `size` says",
        "cut the message to size - offsetof(text) bytes, at a character's boundary"),

    writing(rule("submit-does-not-wait", &[12], Mapper(commands::submit_does_not_wait),
        "`submit` waits for no device and does no I/O",
        "copy the commands into a queue of the instance, and carry them out on a thread of its own")),
    rule("submit-takes-all-or-none", &[12], Mapper(commands::all_or_none),
        "`submit` takes all commands, or answers another status than OK and completes none",
        "look at all commands before the first is carried out"),
    writing(rule("one-completion-each", &[13], Mapper(commands::one_completion_each),
        "Each command that was taken gets exactly one completion",
        "keep what is under way by its token, and take it out where the completion is made")),
    writing(rule("completions-in-time", &[13], Mapper(commands::completions_in_time),
        "A completion comes within the command's budget, and not a second later, whatever the device does",
        "give each command a deadline when it is taken, and end it with STATUS_TIMEOUT")),
    rule("unknown-commands-are-unsupported", &[13], Mapper(commands::unknown_commands),
        "A command of an unknown kind ends with STATUS_UNSUPPORTED",
        "the default of the switch answers STATUS_UNSUPPORTED"),
    writing(rule("unknown-methods-are-refused", &[38], Mapper(commands::unknown_method),
        "A call of a method that nobody knows does not end with OK",
        "answer STATUS_UNSUPPORTED or STATUS_REFUSED, and name the method")),
    rule("wrong-discoveries-are-refused", &[40], Mapper(commands::wrong_discovery),
        "A request to look for devices that is no JSON object does not end with OK",
        "answer STATUS_INVALID_ARGUMENT with the faults, or STATUS_UNSUPPORTED"),
    rule("discoveries-end-in-time", &[13, 40], Mapper(commands::discovery_in_time),
        "A search for devices ends within its budget, whatever it was asked for",
        "give the search the command's deadline, and end it with what was found, or with STATUS_TIMEOUT"),
    rule("newer-hosts-are-understood", &[2, 7], Mapper(commands::newer_host),
        "Structs that are longer than known, as those of a newer host, are read as far as they are known",
        "step by `stride`, never by sizeof, and take a larger `size` as it is"),
    rule("older-hosts-are-understood", &[2, 7], Mapper(commands::older_host),
        "Structs that are shorter than known are read no further than their size; what is missing is zero",
        "copy min(stride, sizeof) bytes into a struct of zeroes"),

    writing(rule("garbage-commands-are-survived", &[10], Mapper(survival::garbage_commands),
        "Commands without sense are answered, and no panic or exception leaves `submit`",
        "catch at the boundary (the SDKs for Rust and C++ do), and check kinds, types and texts")),
    rule("random-configurations-are-survived", &[10, 13, 23], Mapper(survival::random_configurations),
        "Whatever stands in a configuration, the mapper answers and goes on",
        "parse into a raw struct first, and collect faults instead of indexing into it"),
    rule("reconfigured-while-reading", &[13, 22], Mapper(survival::reconfigured_while_reading),
        "A device can be configured anew while it is read",
        "let what is under way end with its former configuration, and drop what it brings"),
    rule("stopped-while-reading", &[10, 14], Mapper(survival::stopped_while_reading),
        "`stop` while reads are under way ends within its budget",
        "make waiting for the device end when the instance stops: a socket shutdown, a select, a token"),

    rule("stop-keeps-its-budget", &[14], Mapper(ending::stop_keeps_its_budget),
        "`stop` returns OK within its budget",
        "wake the threads, then join them with what is left of the budget"),
    rule("silent-after-stop", &[14], Mapper(ending::silent_after_stop),
        "Nothing is emitted once `stop` has returned",
        "join all threads in `stop`, or close a gate that every emit passes"),
    rule("stopped-refuses-commands", &[14], Mapper(ending::stopped_refuses),
        "After `stop`, `submit` answers STATUS_STOPPED",
        "look at the flag that `stop` sets before anything else"),
    rule("silent-after-destroy", &[15], Mapper(ending::silent_after_destroy),
        "`destroy` stops the instance first if nobody did, and no thread calls the host after it",
        "call your own stop from `destroy`, and join every thread there"),
    rule("threads-end", &[15], Mapper(ending::threads_end),
        "`stop` and `destroy` leave no thread behind",
        "join what you start; a detached thread outlives its instance"),
    rule("memory-is-given-back", &[15], Mapper(ending::memory_is_given_back),
        "`destroy` frees the instance",
        "run the mapper under valgrind or a leak sanitiser with some dozen instances"),
    rule("instances-are-independent", &[9], Mapper(ending::instances_are_independent),
        "Two instances live side by side, and the end of one is nothing to the other",
        "keep all state in the instance, none in globals"),

    writing(rule("batches-are-well-formed", &[7, 16, 19], Mapper(emitting::well_formed),
        "Each batch has right sizes and strides, at most 4 MiB, and only types and qualities that exist; a boolean is 0 or 1",
        "zero each struct first; set TYPE_NONE exactly for bad samples; set every stride")),
    writing(rule("reserved-fields-are-zero", &[8], Mapper(emitting::reserved),
        "Reserved fields of what is emitted are zero",
        "zero each struct before its fields are set")),
    writing(rule("texts-are-utf8", &[8], Mapper(emitting::texts),
        "Every text that is emitted, logged or written to ErrorText is UTF-8",
        "decode what comes from a device; do not pass it on")),
    rule("bad-samples-have-a-reason", &[19], Mapper(emitting::reasons),
        "A bad sample tells its reason",
        "set `reason` to one of REASON_* wherever quality is QUALITY_BAD"),
    rule("completions-survive-back-pressure", &[17], Mapper(emitting::back_pressure),
        "While the host takes nothing, no completion is lost",
        "on STATUS_WOULD_BLOCK keep the batch, wait with wait_writable, and emit it again"),
    rule("memory-is-bounded-under-back-pressure", &[17], Mapper(emitting::bounded),
        "While the host takes nothing, the mapper's memory does not grow",
        "stop reading while a batch waits, or keep only the latest sample of a point"),
    rule("a-closed-host-is-left-alone", &[17], Mapper(emitting::closed),
        "On STATUS_STOPPED the mapper ends, or at least does not ask again and again",
        "leave the loop of emit on every status but STATUS_WOULD_BLOCK"),
    rule("a-read-brings-its-sample", &[18], Mapper(emitting::read_brings_sample),
        "The sample of a read comes before its completion or together with it",
        "put both into one batch"),
    rule("source-times-are-plausible", &[20], Mapper(emitting::source_times),
        "Source times are nanoseconds since 1970 and do not lie in the future",
        "take CLOCK_REALTIME when the answer arrives, or the time that the device states"),

    rule("configure-replaces", &[22], Mapper(configuration::replaces),
        "A configuration replaces the former one of its device",
        "forget the points of the device before you take the new ones"),
    rule("removed-devices-are-silent", &[34], Mapper(configuration::removed),
        "Once COMMAND_REMOVE has ended, no value of the device is emitted",
        "forget the device's points, and drop what an exchange that was under way brings for them"),
    rule("unknown-keys-are-ignored", &[28], Mapper(configuration::unknown_keys),
        "Keys that only a newer host knows change nothing",
        "do not refuse unknown keys beside `device`, `protocol` and `points`, nor in a point beside `config`"),
    rule("neighbours-are-undisturbed", &[22], Mapper(configuration::neighbours),
        "The configuration of one device does not disturb the others",
        "touch only what belongs to the device; keep its bus open if others are on it"),
    rule("a-wrong-point-spares-its-device", &[23], Mapper(configuration::wrong_point),
        "A point that is wrong does not fail its device",
        "answer OK, emit a bad sample with REASON_CONFIG for the point, and tell the fault in the message"),
    rule("faults-are-json", &[23], Mapper(configuration::faults_are_json),
        "The message of a configuration's completion is empty, or a JSON array of {path, message, level}",
        "write [{\"path\": \"points[0].config.address\", \"message\": …, \"level\": \"error\"}]"),
    rule("a-check-takes-nothing-over", &[44], Mapper(configuration::check),
        "A configuration that says `check` is answered like any other, and is not taken over",
        "answer with the faults before the device is kept, or do not state CAPABILITY_CHECK"),
    rule("polls-at-its-interval", &[24], Mapper(configuration::polls),
        "A point is polled every `intervalMs`",
        "reckon the next time from the last due time, not from the end of the read"),
    rule("zero-is-never-polled", &[24], Mapper(configuration::zero),
        "A point with `intervalMs` 0 is read only when the host asks",
        "leave it out of the schedule"),
    rule("groups-are-read-as-one", &[30], Mapper(order::groups),
        "Points of one group come in one batch with one source time, or a warning says that they do not",
        "read them one after the other, take the time of the first, emit them together; or warn at points[i].group"),
    writing(should(rule("urgent-writes-go-first", &[31], Mapper(order::priority),
        "Of the writes that wait for a bus, the one with the greatest priority goes first",
        "take the next write out of the queue by the `priority` of its point, then by its age"))),

    writing(rule("a-float-takes-any-number", &[43], Mapper(kinds::any_number),
        "A point of the type FLOAT or DOUBLE takes a number of any kind that holds it, whatever kind it gave last",
        "look at the number of a write and not at its kind: 24 may come as INT64, UINT64 or FLOAT64")),

    rule("pushed-values-come-again", &[32], Mapper(pushing::come_again),
        "Values that a device sends by itself keep coming when its configuration changed",
        "ask the device for its values again after each COMMAND_CONFIGURE"),
    rule("pushed-values-end", &[34], Mapper(pushing::end),
        "What a device sends by itself is not passed on once its point or the device is gone",
        "look each value's point up when it comes, and drop what nobody wants any more"),
];
