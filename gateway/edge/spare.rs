//! The memory that a head takes while it is read, lent by the worker: heads are read and copied one after the other, so that one piece
//! of memory serves all connections.

use std::cell::Cell;
use std::fmt;

use bytes::BytesMut;

/// The most bytes that are kept.
const MOST: usize = 16 << 10;

/// One buffer that a worker keeps for its next head.
#[derive(Default)]
pub struct SpareBuffer(Cell<BytesMut>);

impl SpareBuffer {
    /// Takes the buffer; an empty one without memory if it is lent.
    pub(super) fn take(&self) -> BytesMut {
        self.0.take()
    }

    /// Keeps a buffer, unless it is large.
    pub(super) fn put(&self, mut buffer: BytesMut) {
        buffer.clear();
        if buffer.capacity() <= MOST {
            self.0.set(buffer);
        }
    }
}

impl fmt::Debug for SpareBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpareBuffer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_unless_it_is_large() {
        let spare = SpareBuffer::default();
        for length in [100, MOST + 1] {
            let mut buffer = spare.take();
            buffer.extend_from_slice(&vec![0; length]);
            spare.put(buffer);
            let again = spare.take();
            assert_eq!((again.is_empty(), again.capacity() >= 100), (true, length <= MOST), "{length}");
        }
    }
}
