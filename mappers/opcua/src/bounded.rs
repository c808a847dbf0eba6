//! Ends a connection whose server announces more at once than was agreed.
//!
//! The library waits until a chunk is whole before it looks at its size, and a size
//! has four bytes: a server, or what is no server at all, could fill the memory.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Type and size (Part 6, section 7.1.2.2).
const HEADER: usize = 8;

/// A stream of chunks.
pub(crate) struct Bounded<R> {
    inner: R,
    chunks: Chunks,
}

impl<R> Bounded<R> {
    /// `most` bytes for a chunk.
    pub(crate) fn new(inner: R, most: u32) -> Self {
        Self {
            inner,
            chunks: Chunks::new(most),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let followed = self.chunks.follow(&buffer.filled()[before..]);
        Poll::Ready(followed.map_err(|fault| {
            // An error means that nothing was read.
            buffer.set_filled(before);
            io::Error::new(io::ErrorKind::InvalidData, fault)
        }))
    }
}

/// A size that no chunk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server announces a chunk of {size} bytes, at most {most} were agreed")]
pub(crate) struct Size {
    size: u32,
    most: u32,
}

/// Where in a stream of chunks one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunks {
    header: [u8; HEADER],
    known: usize,
    /// Bytes of the body of this one.
    left: usize,
    most: u32,
}

impl Chunks {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            header: [0; HEADER],
            known: 0,
            left: 0,
            most,
        }
    }

    /// Looks at what comes next.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Size> {
        while !bytes.is_empty() {
            let body = bytes.len().min(self.left);
            self.left -= body;
            bytes = &bytes[body..];
            if self.left > 0 {
                return Ok(());
            }
            let part = bytes.len().min(HEADER - self.known);
            self.header[self.known..self.known + part].copy_from_slice(&bytes[..part]);
            self.known += part;
            bytes = &bytes[part..];
            if self.known == HEADER {
                self.known = 0;
                let [.., a, b, c, d] = self.header;
                let size = u32::from_le_bytes([a, b, c, d]);
                let most = self.most;
                let body = (size as usize).checked_sub(HEADER);
                self.left = body.filter(|_| size <= most).ok_or(Size { size, most })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn chunk(size: u32) -> Vec<u8> {
        let mut chunk = b"MSGF".to_vec();
        chunk.extend_from_slice(&size.to_le_bytes());
        chunk
    }

    #[test]
    fn a_size_is_looked_at_when_it_is_there_and_not_when_all_of_it_is() {
        let mut stream = chunk(12);
        stream.extend_from_slice(&[0xFF; 4]);
        stream.extend_from_slice(&chunk(8));
        stream.extend_from_slice(&chunk(100));
        stream.extend_from_slice(&[0xFF; 92]);
        // As it comes: whole, and byte by byte.
        for piece in [stream.len(), 1, 7] {
            let mut chunks = Chunks::new(100);
            let followed = stream
                .chunks(piece)
                .try_for_each(|part| chunks.follow(part));
            assert_eq!(followed, Ok(()), "in pieces of {piece}");
            for wrong in [101, u32::MAX, 7, 0] {
                let fault = chunks.clone().follow(&chunk(wrong)).unwrap_err();
                assert_eq!((fault.size, fault.most), (wrong, 100));
            }
        }
    }

    #[tokio::test]
    async fn a_chunk_without_end_ends_the_connection() {
        let mut stream = chunk(8);
        stream.extend_from_slice(&chunk(u32::MAX));
        let mut read = Vec::new();
        let mut bounded = Bounded::new(&stream[..], 65_535);
        let error = bounded.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server announces a chunk of 4294967295 bytes, at most 65535 were agreed"
        );
    }
}
