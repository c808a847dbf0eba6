//! What a mapper emitted, owned and checked, read without copying.

use std::mem::offset_of;

use bytes::Bytes;
use longshore_abi as abi;
use longshore_types::{Quality, Reason, ValueRef};

use crate::command::Status;

const SAMPLE: usize = size_of::<abi::Sample>();
const COMPLETION: usize = size_of::<abi::Completion>();
const STATE: usize = size_of::<abi::DeviceState>();

/// Bytes of the counts before the arrays: samples, completions, states, zero.
pub(crate) const COUNTS: usize = 16;

const LENGTH_IN_PAYLOAD: usize = offset_of!(abi::Bytes, length);

/// Samples, completions and device states of one `emit`.
///
/// The bytes are the contract's structs as the mapper laid them out, then all
/// texts in the order of the structs that own them; the pointers in the
/// structs mean nothing any more. Everything was checked when the batch
/// arrived, so reading it cannot fail.
#[derive(Debug, Clone)]
pub struct Batch {
    body: Bytes,
    samples: usize,
    completions: usize,
    states: usize,
    /// Bytes of text that belong to the samples.
    sample_text: usize,
    /// Bytes of text that belong to the completions.
    completion_text: usize,
}

/// One reading of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRef<'a> {
    /// The point's id.
    pub point: u32,
    /// How far it can be trusted.
    pub quality: Quality,
    /// Why it is not good.
    pub reason: Reason,
    /// When it was true at its source: nanoseconds since the Unix epoch.
    pub source_time_ns: i64,
    /// The raw value; nothing if and only if the quality is bad.
    pub value: Option<ValueRef<'a>>,
    /// Why it is bad, for people; may be empty.
    pub message: &'a str,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletionRef<'a> {
    /// The command's token.
    pub token: u64,
    /// The outcome.
    pub status: Status,
    /// Why, for people; may be empty.
    pub message: &'a str,
}

/// A device came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRef<'a> {
    /// The device's id.
    pub device: u32,
    /// Whether it answers; nothing when that is not known.
    pub online: Option<bool>,
    /// Since when: nanoseconds since the Unix epoch.
    pub since_ns: i64,
    /// Why, for people.
    pub message: &'a str,
}

/// A batch that breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchFault {
    #[error("the batch is shorter than its counts say")]
    Short,
    #[error("the batch is longer than its counts say")]
    Long,
    #[error("sample {0} has an unknown type or quality")]
    SampleKind(usize),
    #[error("sample {0} has a boolean that is neither 0 nor 1")]
    Boolean(usize),
    #[error("sample {0} is bad and has a value, or has none and is not bad")]
    Quality(usize),
    #[error("text number {0} is not UTF-8")]
    Text(usize),
}

impl Batch {
    /// Checks everything once.
    pub(crate) fn parse(body: Bytes) -> Result<Self, BatchFault> {
        let counts = body.get(..COUNTS).ok_or(BatchFault::Short)?;
        let count = |i: usize| u32_at(counts, i * 4) as usize;
        let mut batch = Self {
            samples: count(0),
            completions: count(1),
            states: count(2),
            sample_text: 0,
            completion_text: 0,
            body,
        };
        // The counts are 32-bit and the structs have 32 bytes: no overflow in 64 bits.
        let arrays = batch.samples as u64 * SAMPLE as u64
            + batch.completions as u64 * COMPLETION as u64
            + batch.states as u64 * STATE as u64;
        if arrays > (batch.body.len() - COUNTS) as u64 {
            return Err(BatchFault::Short);
        }
        let mut texts = Texts {
            left: &batch.body[batch.text_at()..],
            taken: 0,
            count: 0,
        };
        for (i, sample) in batch.sample_chunks().iter().enumerate() {
            check_sample(sample, i, &mut texts)?;
        }
        let sample_text = texts.taken;
        for completion in batch.completion_chunks() {
            texts.check_utf8(word_at(
                completion,
                offset_of!(abi::Completion, message) + LENGTH_IN_PAYLOAD,
            ))?;
        }
        let completion_text = texts.taken - sample_text;
        for state in batch.state_chunks() {
            texts.check_utf8(word_at(
                state,
                offset_of!(abi::DeviceState, message) + LENGTH_IN_PAYLOAD,
            ))?;
        }
        if !texts.left.is_empty() {
            return Err(BatchFault::Long);
        }
        batch.sample_text = sample_text;
        batch.completion_text = completion_text;
        Ok(batch)
    }

    /// A batch that the host itself makes, to end commands that no mapper took.
    pub(crate) fn from_completions(ended: &[(u64, Status, &str)]) -> Self {
        let mut body = vec![0; COUNTS + ended.len() * COMPLETION];
        body[4..8].copy_from_slice(&(ended.len() as u32).to_ne_bytes());
        for ((token, status, message), completion) in ended
            .iter()
            .zip(body[COUNTS..].as_chunks_mut::<COMPLETION>().0)
        {
            let mut put =
                |at: usize, bytes: &[u8]| completion[at..at + bytes.len()].copy_from_slice(bytes);
            put(offset_of!(abi::Completion, token), &token.to_ne_bytes());
            put(
                offset_of!(abi::Completion, status),
                &crate::command::code_of(*status).to_ne_bytes(),
            );
            put(
                offset_of!(abi::Completion, message) + LENGTH_IN_PAYLOAD,
                &message.len().to_ne_bytes(),
            );
        }
        for (_, _, message) in ended {
            body.extend_from_slice(message.as_bytes());
        }
        let completion_text = body.len() - COUNTS - ended.len() * COMPLETION;
        Self {
            body: body.into(),
            samples: 0,
            completions: ended.len(),
            states: 0,
            sample_text: 0,
            completion_text,
        }
    }

    /// Number of samples.
    pub fn sample_count(&self) -> usize {
        self.samples
    }

    /// Number of completions.
    pub fn completion_count(&self) -> usize {
        self.completions
    }

    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The samples, in the order in which the mapper has them.
    #[inline]
    pub fn samples(&self) -> impl Iterator<Item = SampleRef<'_>> {
        let mut texts = Texts {
            left: &self.body[self.text_at()..],
            taken: 0,
            count: 0,
        };
        self.sample_chunks()
            .iter()
            .map(move |sample| read_sample(sample, &mut texts))
    }

    /// The completions.
    pub fn completions(&self) -> impl Iterator<Item = CompletionRef<'_>> {
        let mut texts = Texts {
            left: &self.body[self.text_at() + self.sample_text..],
            taken: 0,
            count: 0,
        };
        self.completion_chunks()
            .iter()
            .map(move |completion| CompletionRef {
                token: u64_at(completion, offset_of!(abi::Completion, token)),
                status: crate::command::status_of(u32_at(
                    completion,
                    offset_of!(abi::Completion, status),
                ) as i32),
                message: texts.utf8(word_at(
                    completion,
                    offset_of!(abi::Completion, message) + LENGTH_IN_PAYLOAD,
                )),
            })
    }

    /// The device states. They come before the samples.
    pub fn states(&self) -> impl Iterator<Item = StateRef<'_>> {
        let at = self.text_at() + self.sample_text + self.completion_text;
        let mut texts = Texts {
            left: &self.body[at..],
            taken: 0,
            count: 0,
        };
        self.state_chunks().iter().map(move |state| StateRef {
            device: u32_at(state, offset_of!(abi::DeviceState, device)),
            online: match u32_at(state, offset_of!(abi::DeviceState, state)) {
                abi::STATE_ONLINE => Some(true),
                abi::STATE_OFFLINE => Some(false),
                _ => None,
            },
            since_ns: u64_at(state, offset_of!(abi::DeviceState, since_ns)) as i64,
            message: texts.utf8(word_at(
                state,
                offset_of!(abi::DeviceState, message) + LENGTH_IN_PAYLOAD,
            )),
        })
    }

    fn sample_chunks(&self) -> &[[u8; SAMPLE]] {
        self.body[COUNTS..COUNTS + self.samples * SAMPLE]
            .as_chunks()
            .0
    }

    pub(crate) fn completion_chunks(&self) -> &[[u8; COMPLETION]] {
        let start = COUNTS + self.samples * SAMPLE;
        self.body[start..start + self.completions * COMPLETION]
            .as_chunks()
            .0
    }

    fn state_chunks(&self) -> &[[u8; STATE]] {
        let start = COUNTS + self.samples * SAMPLE + self.completions * COMPLETION;
        self.body[start..start + self.states * STATE].as_chunks().0
    }

    fn text_at(&self) -> usize {
        COUNTS + self.samples * SAMPLE + self.completions * COMPLETION + self.states * STATE
    }
}

/// The texts of a batch, taken one after the other.
struct Texts<'a> {
    left: &'a [u8],
    taken: usize,
    count: usize,
}

impl<'a> Texts<'a> {
    fn check(&mut self, length: usize) -> Result<&'a [u8], BatchFault> {
        let (text, left) = self
            .left
            .split_at_checked(length)
            .ok_or(BatchFault::Short)?;
        self.left = left;
        self.taken += length;
        self.count += 1;
        Ok(text)
    }

    fn check_utf8(&mut self, length: usize) -> Result<(), BatchFault> {
        let text = self.check(length)?;
        std::str::from_utf8(text)
            .map(drop)
            .map_err(|_| BatchFault::Text(self.count - 1))
    }

    /// The next text of a batch that was checked.
    fn bytes(&mut self, length: usize) -> &'a [u8] {
        self.check(length).unwrap_or_default()
    }

    fn utf8(&mut self, length: usize) -> &'a str {
        std::str::from_utf8(self.bytes(length)).unwrap_or_default()
    }
}

const PAYLOAD: usize = offset_of!(abi::Sample, payload);

#[inline]
fn check_sample(sample: &[u8; SAMPLE], i: usize, texts: &mut Texts<'_>) -> Result<(), BatchFault> {
    let kind = sample[offset_of!(abi::Sample, kind)];
    let quality = sample[offset_of!(abi::Sample, quality)];
    if kind > abi::TYPE_BYTES || quality > abi::QUALITY_BAD {
        return Err(BatchFault::SampleKind(i));
    }
    if (kind == abi::TYPE_NONE) != (quality == abi::QUALITY_BAD) {
        return Err(BatchFault::Quality(i));
    }
    match kind {
        abi::TYPE_BOOL if sample[PAYLOAD] > 1 => Err(BatchFault::Boolean(i)),
        abi::TYPE_STRING | abi::TYPE_NONE => {
            texts.check_utf8(word_at(sample, PAYLOAD + LENGTH_IN_PAYLOAD))
        }
        abi::TYPE_BYTES => texts
            .check(word_at(sample, PAYLOAD + LENGTH_IN_PAYLOAD))
            .map(drop),
        _ => Ok(()),
    }
}

#[inline]
fn read_sample<'a>(sample: &[u8; SAMPLE], texts: &mut Texts<'a>) -> SampleRef<'a> {
    let payload = u64_at(sample, PAYLOAD);
    let text = word_at(sample, PAYLOAD + LENGTH_IN_PAYLOAD);
    let mut message = "";
    let value = match sample[offset_of!(abi::Sample, kind)] {
        abi::TYPE_BOOL => Some(ValueRef::Bool(sample[PAYLOAD] != 0)),
        abi::TYPE_INT64 => Some(ValueRef::Int(payload as i64)),
        abi::TYPE_UINT64 => Some(ValueRef::Uint(payload)),
        abi::TYPE_FLOAT64 => Some(ValueRef::Float(f64::from_bits(payload))),
        abi::TYPE_STRING => Some(ValueRef::String(texts.utf8(text))),
        abi::TYPE_BYTES => Some(ValueRef::Bytes(texts.bytes(text))),
        _ => {
            message = texts.utf8(text);
            None
        }
    };
    SampleRef {
        point: u32_at(sample, offset_of!(abi::Sample, point)),
        quality: match sample[offset_of!(abi::Sample, quality)] {
            abi::QUALITY_GOOD => Quality::Good,
            abi::QUALITY_UNCERTAIN => Quality::Uncertain,
            _ => Quality::Bad,
        },
        reason: reason(u16_at(sample, offset_of!(abi::Sample, reason))),
        source_time_ns: u64_at(sample, offset_of!(abi::Sample, source_time_ns)) as i64,
        value,
        message,
    }
}

/// Reasons that a newer mapper knows and this host does not are no fault.
fn reason(code: u16) -> Reason {
    match code {
        abi::REASON_LINE => Reason::Line,
        abi::REASON_TIMEOUT => Reason::Timeout,
        abi::REASON_REFUSED => Reason::Refused,
        abi::REASON_CONFIG => Reason::Config,
        abi::REASON_DECODE => Reason::Decode,
        abi::REASON_WRITE_ONLY => Reason::WriteOnly,
        _ => Reason::None,
    }
}

// The callers pass constant offsets inside of a struct's bytes, or a slice
// whose length they checked.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(array_at(bytes, at))
}

fn word_at(bytes: &[u8], at: usize) -> usize {
    usize::from_ne_bytes(array_at(bytes, at))
}

#[inline(always)]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
