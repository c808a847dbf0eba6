#![allow(unsafe_code)] // Follows the pointers of a batch that a mapper emits.
//! A batch on its way out of the mapper: the arrays where they lie, and the
//! texts collected behind them.

use std::{io::IoSlice, marker::PhantomData, mem::offset_of, ptr, slice};

use longshore_abi as abi;

use crate::{batch::COUNTS, wire};

/// A batch that a mapper lends for the time of an `emit` call.
#[derive(Clone, Copy)]
pub(crate) struct Emitted<'a> {
    batch: *const abi::EventBatch,
    lent: PhantomData<&'a ()>,
}

impl Emitted<'_> {
    /// # Safety
    /// For as long as `pointer` is borrowed, `*pointer` is as `HostApi::emit`
    /// has it: null or a batch with arrays as long as their counts and strides
    /// say, and every struct of them initialised.
    pub(crate) unsafe fn new(pointer: &*const abi::EventBatch) -> Emitted<'_> {
        Emitted {
            batch: *pointer,
            lent: PhantomData,
        }
    }
}

/// The buffers that it takes to gather batches, one after the other.
#[derive(Default)]
pub(crate) struct Gatherer {
    /// Arrays whose stride is not ours, packed.
    packed: [Vec<u8>; 3],
    /// The texts, in the order of the structs that own them.
    text: Vec<u8>,
}

/// What to write, in this order.
pub(crate) struct Gathered<'a> {
    header: [u8; wire::HEADER + COUNTS],
    parts: [&'a [u8]; 4],
}

/// One array of the batch.
#[derive(Clone, Copy)]
struct Array {
    pointer: *const u8,
    count: usize,
    /// In the mapper's memory.
    stride: usize,
    /// As this host knows the struct.
    size: usize,
}

impl Gatherer {
    /// Gathers the batch, or the status that says why not.
    pub(crate) fn gather<'a>(
        &'a mut self,
        Emitted { batch, .. }: Emitted<'a>,
    ) -> Result<Gathered<'a>, i32> {
        if batch.is_null() {
            return Err(abi::STATUS_INVALID_ARGUMENT);
        }
        // SAFETY: whoever made `Emitted` upholds that this is a batch, and every
        // struct of the contract starts with its size.
        let size = unsafe { batch.cast::<u32>().read() } as usize;
        // Every field stands in the first version of the contract.
        if size < size_of::<abi::EventBatch>() {
            return Err(abi::STATUS_INVALID_ARGUMENT);
        }
        // SAFETY: its size says that all fields are there.
        let batch = unsafe { batch.read() };
        let arrays = [
            Array::new::<abi::Sample>(batch.samples, batch.sample_count, batch.sample_stride)?,
            Array::new::<abi::Completion>(
                batch.completions,
                batch.completion_count,
                batch.completion_stride,
            )?,
            Array::new::<abi::DeviceState>(batch.states, batch.state_count, batch.state_stride)?,
        ];
        let mut room = abi::MAX_BATCH_BYTES;
        for array in arrays {
            let bytes = array
                .count
                .checked_mul(array.size)
                .ok_or(abi::STATUS_INVALID_ARGUMENT)?;
            room = room
                .checked_sub(bytes)
                .ok_or(abi::STATUS_INVALID_ARGUMENT)?;
        }
        self.text.clear();
        // SAFETY: `Emitted` upholds that the arrays are there; none is null.
        unsafe { self.collect_texts(arrays, room)? };
        for (array, packed) in arrays.iter().zip(&mut self.packed) {
            if array.stride != array.size {
                // SAFETY: as above.
                unsafe { array.pack(packed) };
            }
        }
        let mut parts = [&[][..]; 4];
        for ((part, array), packed) in parts.iter_mut().zip(arrays).zip(&self.packed) {
            // SAFETY: as above; the mapper initialises the structs that it emits.
            *part = if array.stride == array.size {
                unsafe { array.bytes() }
            } else {
                packed
            };
        }
        parts[3] = &self.text;
        Ok(Gathered {
            header: header(arrays, &parts),
            parts,
        })
    }

    /// # Safety
    /// The arrays are as [`Gatherer::gather`] has them.
    unsafe fn collect_texts(
        &mut self,
        [samples, completions, states]: [Array; 3],
        room: usize,
    ) -> Result<(), i32> {
        for i in 0..samples.count {
            let sample = samples.at(i);
            // SAFETY: sample `i` lies within the array. Only the payload's
            // field that the type names is read.
            unsafe {
                let kind = sample.add(offset_of!(abi::Sample, kind)).read();
                if matches!(kind, abi::TYPE_STRING | abi::TYPE_BYTES | abi::TYPE_NONE) {
                    let text = sample
                        .add(offset_of!(abi::Sample, payload))
                        .cast::<abi::Bytes>()
                        .read_unaligned();
                    self.collect(text, room)?;
                }
            }
        }
        let messages = [
            (completions, offset_of!(abi::Completion, message)),
            (states, offset_of!(abi::DeviceState, message)),
        ];
        for (array, message) in messages {
            for i in 0..array.count {
                // SAFETY: struct `i` lies within the array, the message within the struct.
                unsafe {
                    let text = array
                        .at(i)
                        .add(message)
                        .cast::<abi::Bytes>()
                        .read_unaligned();
                    self.collect(text, room)?;
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// `text` is borrowed memory as the contract has it.
    unsafe fn collect(&mut self, text: abi::Bytes, room: usize) -> Result<(), i32> {
        if text.length == 0 {
            return Ok(());
        }
        if text.pointer.is_null() || text.length > room - self.text.len() {
            return Err(abi::STATUS_INVALID_ARGUMENT);
        }
        // SAFETY: the caller upholds that `length` bytes are readable.
        self.text
            .extend_from_slice(unsafe { slice::from_raw_parts(text.pointer, text.length) });
        Ok(())
    }
}

impl Array {
    fn new<T>(pointer: *const T, count: usize, stride: u32) -> Result<Self, i32> {
        let array = Self {
            pointer: pointer.cast(),
            count,
            stride: stride as usize,
            size: size_of::<T>(),
        };
        // A shorter struct would be an older contract's; this is the first one.
        let fits = count == 0 || (!pointer.is_null() && array.stride >= array.size);
        fits.then_some(array).ok_or(abi::STATUS_INVALID_ARGUMENT)
    }

    fn at(self, i: usize) -> *const u8 {
        self.pointer.wrapping_add(i * self.stride)
    }

    /// # Safety
    /// The array is readable for `'a` and its stride is its size.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: passed on from the caller.
        unsafe { slice::from_raw_parts(self.pointer, self.count * self.size) }
    }

    /// # Safety
    /// The array is readable.
    unsafe fn pack(self, packed: &mut Vec<u8>) {
        packed.clear();
        packed.resize(self.count * self.size, 0);
        for (i, slot) in packed.chunks_exact_mut(self.size).enumerate() {
            // SAFETY: struct `i` lies within the array, and `slot` has its size.
            unsafe { ptr::copy_nonoverlapping(self.at(i), slot.as_mut_ptr(), self.size) };
        }
    }
}

fn header(arrays: [Array; 3], parts: &[&[u8]; 4]) -> [u8; wire::HEADER + COUNTS] {
    let length = COUNTS + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut header = [0; wire::HEADER + COUNTS];
    // All are bounded by MAX_BATCH_BYTES, which fits.
    let numbers = [
        length as u32,
        wire::BATCH,
        arrays[0].count as u32,
        arrays[1].count as u32,
        arrays[2].count as u32,
    ];
    for (slot, number) in header.chunks_exact_mut(4).zip(numbers) {
        slot.copy_from_slice(&number.to_ne_bytes());
    }
    header
}

impl Gathered<'_> {
    /// Bytes of the frame.
    pub(crate) fn len(&self) -> usize {
        self.header.len() + self.parts.iter().map(|part| part.len()).sum::<usize>()
    }

    /// The frame, for one `writev`.
    pub(crate) fn slices(&self) -> [IoSlice<'_>; 5] {
        let [a, b, c, d] = self.parts;
        [
            IoSlice::new(&self.header),
            IoSlice::new(a),
            IoSlice::new(b),
            IoSlice::new(c),
            IoSlice::new(d),
        ]
    }

    /// Appends the frame without its first `skip` bytes.
    pub(crate) fn append_to(&self, buffer: &mut Vec<u8>, mut skip: usize) {
        buffer.reserve(self.len() - skip.min(self.len()));
        for slice in &self.slices() {
            buffer.extend_from_slice(&slice[skip.min(slice.len())..]);
            skip = skip.saturating_sub(slice.len());
        }
    }
}

#[cfg(test)]
mod tests;
