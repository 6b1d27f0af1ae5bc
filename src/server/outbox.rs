//! Bytes that wait until a connection takes them.

use std::io::{self, Write};

use zeroize::Zeroizing;

/// What is still to be written, in order. It may hold tokens, so it is wiped.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Zeroizing<Vec<u8>>,
    written: usize,
}

impl Outbox {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Adds `bytes` behind what waits.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes `bytes` at once where nothing waits, and keeps what there is no room for. How many bytes were written.
    pub(super) fn write_or_keep(&mut self, stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_empty() {
            self.push(bytes);
            return Ok(0);
        }
        let written = write_some(stream, bytes)?;
        if let Some(rest @ [_, ..]) = bytes.get(written..) {
            self.push(rest);
        }
        Ok(written)
    }

    /// Writes as much as there is room for. How many bytes were written.
    pub(super) fn flush(&mut self, stream: &mut impl Write) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let waiting = self.bytes.get(self.written..).unwrap_or_default();
        let written = write_some(stream, waiting)?;
        self.written += written;
        if self.is_empty() {
            *self = Self::default();
        }
        Ok(written)
    }
}

/// Writes until there is no more room. How many bytes were written.
fn write_some(stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest @ [_, ..]) = bytes.get(written..) {
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has room for some bytes, which come out of it in order.
    struct Narrow {
        room: usize,
        came: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.came.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_come_out_in_order_however_little_room_there_is() {
        for room in 1..12 {
            let mut stream = Narrow { room, came: Vec::new() };
            let mut outbox = Outbox::default();
            for part in [&b"one"[..], b"", b"twothree"] {
                outbox.write_or_keep(&mut stream, part).unwrap();
            }
            assert_eq!(outbox.len(), 11_usize.saturating_sub(room));
            while !outbox.is_empty() {
                stream.room = room;
                assert!(outbox.flush(&mut stream).unwrap() > 0);
            }
            assert_eq!(stream.came, b"onetwothree", "{room}");
        }
    }

    #[test]
    fn a_broken_stream_is_an_error() {
        let mut full: &mut [u8] = &mut [];
        assert!(Outbox::default().write_or_keep(&mut full, b"a").is_err());
    }
}
