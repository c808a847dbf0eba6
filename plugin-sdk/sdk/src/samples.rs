//! A batch of samples on its way to the host.
//!
//! # Why this shape
//! A node reads up to some hundred thousand values a second, so a batch is the
//! contract's own array from the first push on, and nothing is converted or
//! allocated for a number. The price is that the text of a sample is a pointer
//! into memory that may move when more comes. So all texts lie in one arena, and
//! `texts` says which sample owns which part of it. Whatever copies, cuts or
//! joins batches keeps to this: `texts` has one entry for each text that is not
//! empty, in the order of the samples and of the arena, and after a move of the
//! arena each of them is pointed anew.

use longshore_abi::{
    Bytes, Payload, QUALITY_BAD, QUALITY_GOOD, QUALITY_UNCERTAIN, REASON_CONFIG, REASON_DECODE,
    REASON_LINE, REASON_NONE, REASON_REFUSED, REASON_TIMEOUT, REASON_WRITE_ONLY, Sample, TYPE_BOOL,
    TYPE_BYTES, TYPE_FLOAT64, TYPE_INT64, TYPE_NONE, TYPE_STRING, TYPE_UINT64,
};

/// A batch of samples; reused between reads so that the hot path does not allocate.
///
/// The samples lie in memory as the C contract has them, so emitting a batch
/// converts nothing: `push_f64` is one bounds check and one 32-byte store.
/// Texts are copied into an arena and each text's sample points there; when
/// the arena moves, the few samples with text are pointed anew.
#[derive(Default)]
pub struct Samples {
    pub(crate) samples: Vec<Sample>,
    arena: Vec<u8>,
    texts: Vec<Text>,
}

/// Where the text of a sample stands in the arena.
#[derive(Clone, Copy)]
struct Text {
    sample: usize,
    offset: usize,
    length: usize,
}

/// Why a sample is bad; the codes are `longshore_abi::REASON_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The line is down or broke.
    Line,
    /// No answer in time.
    Timeout,
    /// The device refused to read this point.
    Refused,
    /// The point's configuration is wrong.
    Config,
    /// The answer could not be decoded.
    Decode,
    /// The point can be written and not read: what is written to it is a command.
    WriteOnly,
}

/// A sample of a batch, for tests and tools.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleView<'a> {
    /// The point's id.
    pub point: u32,
    /// When the value was true at its source: nanoseconds since the Unix epoch.
    pub source_time_ns: i64,
    /// The value, or why there is none.
    pub reading: Reading<'a>,
}

/// What a [`SampleView`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading<'a> {
    /// Truth.
    Bool(bool),
    /// Signed.
    Int(i64),
    /// Unsigned.
    Uint(u64),
    /// Floating point.
    Float(f64),
    /// Text.
    String(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// No usable value.
    Bad {
        /// Why, for programs.
        reason: Option<Reason>,
        /// Why, for people.
        message: &'a str,
    },
}

impl Samples {
    /// An empty batch with room for `count` samples.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            samples: Vec::with_capacity(count),
            ..Self::default()
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Forgets all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the first `length` samples: takes back what a failed read pushed.
    pub fn truncate(&mut self, length: usize) {
        self.samples.truncate(length);
        while let Some(text) = self.texts.pop_if(|text| text.sample >= length) {
            self.arena.truncate(text.offset);
        }
    }

    /// Moves all samples of `other` to the end of this batch.
    pub fn append(&mut self, other: &mut Samples) {
        let (first, offset) = (self.samples.len(), self.arena.len());
        self.samples.append(&mut other.samples);
        if !other.texts.is_empty() {
            self.arena.append(&mut other.arena);
            let moved = |text: &Text| Text {
                sample: text.sample + first,
                offset: text.offset + offset,
                ..*text
            };
            self.texts.extend(other.texts.iter().map(moved));
            self.point_anew();
        }
        other.clear();
    }

    /// Moves the samples of `other` of which `keep` wants the point to the end
    /// of this batch, and forgets the rest.
    pub(crate) fn append_where(&mut self, other: &mut Samples, keep: impl FnMut(u32) -> bool) {
        self.copy_where(other, keep);
        other.clear();
    }

    /// Copies the samples of `other` of which `keep` wants the point.
    pub(crate) fn copy_where(&mut self, other: &Samples, mut keep: impl FnMut(u32) -> bool) {
        let mut texts = other.texts.iter().peekable();
        for (index, sample) in other.samples.iter().enumerate() {
            let text = texts.next_if(|text| text.sample == index);
            if !keep(sample.point) {
                continue;
            }
            let payload = match text {
                Some(text) => self.store(&other.arena[text.offset..text.offset + text.length]),
                None => sample.payload,
            };
            self.samples.push(Sample { payload, ..*sample });
        }
    }

    /// What the samples and their texts take.
    pub(crate) fn bytes(&self) -> usize {
        self.samples.len() * size_of::<Sample>() + self.arena.len()
    }

    /// Takes the samples out in parts of about `limit` bytes, in their order.
    /// What was read as one has one time, and stays together up to a quarter
    /// of the limit.
    pub(crate) fn split(&mut self, limit: usize) -> Vec<Samples> {
        let mut parts = vec![Samples::default()];
        let mut time = None;
        let mut texts = self.texts.iter().peekable();
        for (index, sample) in self.samples.iter().enumerate() {
            let text = texts.next_if(|text| text.sample == index);
            let text = text.map(|text| &self.arena[text.offset..text.offset + text.length]);
            let size = size_of::<Sample>() + text.map_or(0, <[u8]>::len);
            let is_next = time.replace(sample.source_time_ns) != Some(sample.source_time_ns);
            let room = if is_next { limit - limit / 4 } else { limit };
            if parts.last().is_none_or(|part| part.bytes() + size > room) {
                parts.push(Samples::default());
            }
            if let Some(part) = parts.last_mut() {
                let payload = text.map_or(sample.payload, |text| part.store(text));
                part.samples.push(Sample { payload, ..*sample });
            }
        }
        self.clear();
        parts
    }

    /// The source time of the first sample.
    pub(crate) fn first_time(&self) -> Option<i64> {
        self.samples.first().map(|sample| sample.source_time_ns)
    }

    /// The first bad sample of a point that `of` wants: why, for programs and people.
    pub(crate) fn first_bad(&self, of: impl Fn(u32) -> bool) -> Option<(Reason, &str)> {
        let is_bad = |sample: &Sample| sample.quality == QUALITY_BAD && of(sample.point);
        let index = self.samples.iter().position(is_bad)?;
        let texts = &self.texts;
        let text = texts.binary_search_by_key(&index, |text| text.sample).ok();
        let text = text.map(|at| &self.arena[texts[at].offset..][..texts[at].length]);
        let message = std::str::from_utf8(text.unwrap_or_default()).unwrap_or_default();
        let reason = Reason::from_code(self.samples[index].reason);
        Some((reason.unwrap_or(Reason::Decode), message))
    }

    /// Gives all samples one source time.
    pub(crate) fn set_times(&mut self, source_time_ns: i64) {
        for sample in &mut self.samples {
            sample.source_time_ns = source_time_ns;
        }
    }

    /// The points of the samples, and whether each is bad.
    pub(crate) fn points(&self) -> impl Iterator<Item = (u32, bool)> {
        self.samples
            .iter()
            .map(|sample| (sample.point, sample.quality == QUALITY_BAD))
    }

    /// Makes room for `count` more samples.
    pub fn reserve(&mut self, count: usize) {
        self.samples.reserve(count);
    }

    /// Adds a floating point number.
    #[inline]
    pub fn push_f64(&mut self, point: u32, value: f64, source_time_ns: i64) {
        self.push(
            point,
            TYPE_FLOAT64,
            Payload::from_f64(value),
            source_time_ns,
        );
    }

    /// Adds a signed integer.
    #[inline]
    pub fn push_i64(&mut self, point: u32, value: i64, source_time_ns: i64) {
        self.push(point, TYPE_INT64, Payload::from_i64(value), source_time_ns);
    }

    /// Adds an unsigned integer.
    #[inline]
    pub fn push_u64(&mut self, point: u32, value: u64, source_time_ns: i64) {
        self.push(point, TYPE_UINT64, Payload::from_u64(value), source_time_ns);
    }

    /// Adds a truth value.
    #[inline]
    pub fn push_bool(&mut self, point: u32, value: bool, source_time_ns: i64) {
        self.push(point, TYPE_BOOL, Payload::from_bool(value), source_time_ns);
    }

    /// Adds text.
    pub fn push_str(&mut self, point: u32, value: &str, source_time_ns: i64) {
        let payload = self.store(value.as_bytes());
        self.push(point, TYPE_STRING, payload, source_time_ns);
    }

    /// Adds raw bytes.
    pub fn push_bytes(&mut self, point: u32, value: &[u8], source_time_ns: i64) {
        let payload = self.store(value);
        self.push(point, TYPE_BYTES, payload, source_time_ns);
    }

    /// Says that there is no usable value, and why.
    pub fn push_bad(&mut self, point: u32, reason: Reason, message: &str, source_time_ns: i64) {
        let payload = self.store(message.as_bytes());
        self.samples.push(Sample {
            point,
            kind: TYPE_NONE,
            quality: QUALITY_BAD,
            reason: reason.code(),
            source_time_ns,
            payload,
        });
    }

    /// Marks the last sample as one to be used with care. Does nothing to a
    /// bad sample or an empty batch.
    pub fn mark_last_uncertain(&mut self) {
        if let Some(sample) = self
            .samples
            .last_mut()
            .filter(|sample| sample.quality == QUALITY_GOOD)
        {
            sample.quality = QUALITY_UNCERTAIN;
        }
    }

    #[inline]
    fn push(&mut self, point: u32, kind: u8, payload: Payload, source_time_ns: i64) {
        self.samples.push(Sample {
            point,
            kind,
            quality: QUALITY_GOOD,
            reason: REASON_NONE,
            source_time_ns,
            payload,
        });
    }

    /// Copies the text of the next sample into the arena.
    fn store(&mut self, text: &[u8]) -> Payload {
        if text.is_empty() {
            return Payload::ZERO;
        }
        let before = self.arena.as_ptr();
        self.arena.reserve(text.len());
        if before != self.arena.as_ptr() {
            self.point_anew();
        }
        let text_at = Text {
            sample: self.samples.len(),
            offset: self.arena.len(),
            length: text.len(),
        };
        self.arena.extend_from_slice(text);
        self.texts.push(text_at);
        self.payload(text_at)
    }

    fn payload(&self, text: Text) -> Payload {
        Payload::from_bytes(Bytes {
            pointer: self.arena.as_ptr().wrapping_add(text.offset),
            length: text.length,
        })
    }

    fn point_anew(&mut self) {
        for i in 0..self.texts.len() {
            let text = self.texts[i];
            self.samples[text.sample].payload = self.payload(text);
        }
    }
}

impl Clone for Samples {
    fn clone(&self) -> Self {
        let mut copy = Self {
            samples: self.samples.clone(),
            arena: self.arena.clone(),
            texts: self.texts.clone(),
        };
        copy.point_anew();
        copy
    }
}

impl std::fmt::Debug for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Reason {
    /// The code of the contract.
    pub fn code(self) -> u16 {
        match self {
            Self::Line => REASON_LINE,
            Self::Timeout => REASON_TIMEOUT,
            Self::Refused => REASON_REFUSED,
            Self::Config => REASON_CONFIG,
            Self::Decode => REASON_DECODE,
            Self::WriteOnly => REASON_WRITE_ONLY,
        }
    }

    pub(crate) fn from_code(code: u16) -> Option<Self> {
        [
            Self::Line,
            Self::Timeout,
            Self::Refused,
            Self::Config,
            Self::Decode,
            Self::WriteOnly,
        ]
        .into_iter()
        .find(|reason| reason.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_growth_clone_and_truncation() {
        let mut samples = Samples::default();
        for i in 0..1000_u32 {
            samples.push_str(i, &format!("text {i}"), 1);
            samples.push_f64(i, f64::from(i), 2);
        }
        let copy = samples.clone();
        samples.truncate(999);
        samples.push_bad(7, Reason::Timeout, "no answer", 3);
        assert_eq!(copy.len(), 2000);
        for (i, sample) in copy.iter().step_by(2).enumerate() {
            assert_eq!(sample.reading, Reading::String(&format!("text {i}")));
        }
        assert_eq!(
            samples.iter().nth(998).expect("kept").reading,
            Reading::String("text 499")
        );
        let last = samples.iter().last().expect("pushed");
        assert_eq!(
            last.reading,
            Reading::Bad {
                reason: Some(Reason::Timeout),
                message: "no answer"
            }
        );
        let mut whole = copy.clone();
        whole.append(&mut samples);
        assert!(samples.is_empty());
        assert_eq!(
            whole.iter().nth(2998).expect("moved").reading,
            Reading::String("text 499")
        );
        assert_eq!(
            whole.iter().nth(1998).expect("kept").reading,
            Reading::String("text 999")
        );
    }

    #[test]
    fn what_is_wanted_is_moved_with_its_text_and_quality() {
        let mut samples = Samples::default();
        for point in 0..10 {
            samples.push_str(point, &format!("text {point}"), 1);
            samples.mark_last_uncertain();
            samples.push_bool(point + 10, true, 1);
        }
        let mut some = Samples::default();
        some.push_str(99, "before", 1);
        some.append_where(&mut samples, |point| point % 5 == 0);
        assert!(samples.is_empty());
        some.set_times(7);
        let expected: [(u32, Reading<'_>); 5] = [
            (99, Reading::String("before")),
            (0, Reading::String("text 0")),
            (10, Reading::Bool(true)),
            (5, Reading::String("text 5")),
            (15, Reading::Bool(true)),
        ];
        let moved: Vec<_> = some.iter().map(|of| (of.point, of.reading)).collect();
        assert_eq!(moved, expected);
        assert!(some.iter().all(|of| of.source_time_ns == 7));
        assert_eq!(some.samples[1].quality, QUALITY_UNCERTAIN);
        assert_eq!(some.samples[2].quality, QUALITY_GOOD);
    }

    #[test]
    fn parts_hold_all_samples_in_order() {
        let mut samples = Samples::default();
        for point in 0..1000 {
            // Four samples were read as one.
            let time = i64::from(point / 2);
            samples.push_str(point, &"x".repeat(point as usize % 50), time);
            samples.push_f64(point, 1.5, time);
        }
        let whole = format!("{samples:?}");
        let parts = samples.split(4096);
        assert!(samples.is_empty());
        assert!(parts.len() > 10 && parts.iter().all(|part| part.bytes() <= 4096));
        let mut again = Samples::default();
        for mut part in parts {
            assert_eq!(part.len() % 4, 0, "nothing is torn apart");
            again.append(&mut part);
        }
        assert_eq!(format!("{again:?}"), whole);
    }

    #[test]
    fn marks_only_good_samples_uncertain() {
        let mut samples = Samples::default();
        samples.mark_last_uncertain();
        samples.push_bad(1, Reason::Line, "", 0);
        samples.mark_last_uncertain();
        assert_eq!(samples.samples[0].quality, QUALITY_BAD);
        samples.push_bool(2, true, 0);
        samples.mark_last_uncertain();
        assert_eq!(samples.samples[1].quality, QUALITY_UNCERTAIN);
    }
}
