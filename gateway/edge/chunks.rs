//! The framing of a chunked body, checked byte by byte while the body passes, so that whoever moves it knows where it ends without
//! asking its reader. Pure.
//!
//! Stricter than what reads the bytes next: httparse 1.10 takes a size line without digits for the last chunk, and what the
//! client sent after it would be the next request. Sources: RFC 9112 sections 7.1 (chunks, extensions, trailers) and 2.2
//! (line ends). Refused besides what the grammar refuses: a bare LF, blanks after a size that no extension follows, and what
//! is over the bounds below.

use config::model::Limits;

use super::head::is_token_byte;

/// Digits of a chunk size, leading zeros included.
const SIZE_DIGITS: u8 = 16;
/// Bytes of the extensions of one chunk.
const EXTENSION_BYTES: u16 = 256;
/// Bytes of all trailers; fewer where `limits.head_bytes` says so. pingora 0.9.1 gives up at 64 KiB.
const TRAILER_BYTES: usize = 32 << 10;

/// A chunked body that is still arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    trailer_bytes_left: usize,
    trailers_left: usize,
}

/// The part of the grammar that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A digit of the size, or what ends the size.
    Size {
        digits: u8,
        size: u64,
    },
    /// A blank before an extension, or its semicolon; so many bytes came after the size.
    Blank {
        size: u64,
        bytes: u16,
    },
    /// The rest of the extensions, or CR.
    Extension {
        size: u64,
        bytes: u16,
    },
    /// The LF of the size line.
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// The first byte of a trailer, or the CR of the empty line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
    Malformed,
}

/// A body that breaks the framing, or a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedChunk;

/// The meaning of some bytes of a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPart {
    /// Bytes of the body itself.
    Content,
    /// Sizes, extensions and line ends.
    Framing,
    /// Bytes of the trailer section, without the empty line that ends it.
    Trailer,
}

impl Chunks {
    /// The start of a body whose trailers are held to the bounds of a head.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            state: State::Size { digits: 0, size: 0 },
            trailer_bytes_left: limits.head_bytes.min(TRAILER_BYTES),
            trailers_left: limits.headers,
        }
    }

    /// Takes the first of the bytes that mean the same: how many they are, and their meaning. Less than one byte, at the end of
    /// the body, is none.
    ///
    /// # Errors
    /// [`MalformedChunk`] when the first of the bytes is wrong.
    pub fn part(&mut self, bytes: &[u8]) -> Result<(usize, ChunkPart), MalformedChunk> {
        if let State::Data { .. } = self.state {
            return self.advance_data(bytes).map(|taken| (taken, ChunkPart::Content));
        }
        let mut taken = 0;
        let mut meaning = None;
        while let Some(&byte) = bytes.get(taken)
            && !self.is_done()
            && !matches!(self.state, State::Data { .. })
        {
            let own = match (self.state, byte) {
                (State::Trailer, b'\r') => ChunkPart::Framing,
                (State::Trailer | State::TrailerName | State::TrailerValue | State::TrailerLf, _) => ChunkPart::Trailer,
                _ => ChunkPart::Framing,
            };
            if *meaning.get_or_insert(own) != own {
                break;
            }
            let next = self.next(byte);
            if next == State::Malformed {
                return if taken == 0 { Err(MalformedChunk) } else { Ok((taken, own)) };
            }
            self.state = next;
            taken += 1;
        }
        Ok((taken, meaning.unwrap_or(ChunkPart::Framing)))
    }

    fn advance_data(&mut self, bytes: &[u8]) -> Result<usize, MalformedChunk> {
        let State::Data { left } = &mut self.state else { return Err(MalformedChunk) };
        let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        *left -= taken as u64;
        if *left == 0 {
            self.state = State::DataCr;
        }
        Ok(taken)
    }

    /// True once the last byte of the body was seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at the next bytes: how many of them belong to the body. Fewer than there are means that the body ended, or that
    /// the next byte is wrong, which is said when it is looked at again: what comes before it may be handed on.
    ///
    /// # Errors
    /// [`MalformedChunk`] when the first of the bytes is wrong.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, MalformedChunk> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if let State::Data { .. } = self.state {
                at += self.advance_data(&bytes[at..])?;
                continue;
            }
            self.state = self.next(bytes[at]);
            if self.state == State::Malformed {
                return if at == 0 { Err(MalformedChunk) } else { Ok(at) };
            }
            at += 1;
        }
        Ok(at)
    }

    /// The state after one byte that is not data.
    fn next(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Size { digits: 1.., size }, b'\r') => State::SizeLf { size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { size, bytes: 1 },
            (State::Size { digits: 1.., size }, b' ' | b'\t') => State::Blank { size, bytes: 1 },
            (State::Size { digits, size }, byte) => digit(digits, size, byte),
            (State::Extension { size, .. }, b'\r') => State::SizeLf { size },
            (State::Blank { bytes: EXTENSION_BYTES.., .. } | State::Extension { bytes: EXTENSION_BYTES.., .. }, _) => {
                State::Malformed
            }
            (State::Blank { size, bytes }, b' ' | b'\t') => State::Blank { size, bytes: bytes + 1 },
            (State::Blank { size, bytes }, b';') => State::Extension { size, bytes: bytes + 1 },
            (State::Extension { size, bytes }, byte) if is_text(byte) => State::Extension { size, bytes: bytes + 1 },
            (State::SizeLf { size: 0 }, b'\n') => State::Trailer,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
            (State::LastLf, b'\n') => State::Done,
            (State::Trailer, b'\r') => State::LastLf,
            (State::Trailer | State::TrailerName | State::TrailerValue | State::TrailerLf, byte) => self.trailer(byte),
            _ => State::Malformed,
        }
    }

    fn trailer(&mut self, byte: u8) -> State {
        let Some(left) = self.trailer_bytes_left.checked_sub(1) else { return State::Malformed };
        self.trailer_bytes_left = left;
        match (self.state, byte) {
            (State::Trailer, byte) if is_token_byte(byte) && self.trailers_left > 0 => {
                self.trailers_left -= 1;
                State::TrailerName
            }
            (State::TrailerName, byte) if is_token_byte(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, byte) if is_text(byte) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::Trailer,
            _ => State::Malformed,
        }
    }
}

fn digit(digits: u8, size: u64, byte: u8) -> State {
    match char::from(byte).to_digit(16) {
        // A body of more than `i64::MAX` bytes is no body; the bound keeps sums of sizes from running over.
        Some(digit) if digits < SIZE_DIGITS && size < 1 << 59 => {
            State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
        }
        _ => State::Malformed,
    }
}

/// Anything but a control character other than a tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits { head_bytes: 60, headers: 3, ..Limits::default() }
    }

    /// The answer of a scan of the whole text: the length of the body, `None` while it goes on.
    fn scan(text: &[u8]) -> Result<Option<usize>, MalformedChunk> {
        in_parts(text, text.len().max(1))
    }

    /// The same, when so many bytes come at a time.
    fn in_parts(text: &[u8], part: usize) -> Result<Option<usize>, MalformedChunk> {
        let mut chunks = Chunks::new(&limits());
        let mut len = 0;
        for part in text.chunks(part) {
            let taken = chunks.advance(part)?;
            len += taken;
            if chunks.is_done() {
                return Ok(Some(len));
            }
            if taken < part.len() {
                assert_eq!(chunks.advance(&part[taken..]), Err(MalformedChunk), "fewer bytes than there were");
                return Err(MalformedChunk);
            }
        }
        Ok(None)
    }

    #[test]
    fn bodies_that_are_taken() {
        let table: [&[u8]; 13] = [
            b"0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
            b"a\r\n0123456789\r\n0\r\n\r\n",
            b"A\r\n0123456789\r\n000\r\n\r\n",
            b"0000000000000003\r\nabc\r\n0\r\n\r\n",
            b"3;name=value\r\nabc\r\n0;last\r\n\r\n",
            b"3 ; name = \"a b\"\r\nabc\r\n0\t;\r\n\r\n",
            b"2\r\n\r\n\r\n0\r\n\r\n",
            b"3\r\n0\r\n\r\n0\r\n\r\n",
            b"0\r\nx-sum: 1\r\n\r\n",
            b"0\r\nx-sum:\r\ny:\t\xe9 z\r\nz: 1\r\n\r\n",
            b"1\r\n\n\r\n0\r\n\r\n",
        ];
        for text in table {
            assert_eq!(scan(text), Ok(Some(text.len())), "{}", text.escape_ascii());
            let with_more = [text, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(scan(&with_more), Ok(Some(text.len())), "{}", text.escape_ascii());
            assert_eq!(scan(&text[..text.len() - 1]), Ok(None), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn bodies_that_are_refused() {
        let long = [b"1;", &b"x".repeat(256)[..]].concat();
        let trailer = [b"0\r\nx: ", &b"y".repeat(58)[..]].concat();
        let table: [&[u8]; 30] = [
            b"\r",
            b"3\r\nabc\r\n\r",
            b";",
            b" ",
            b"3 \r",
            b"3\n",
            b"3;a\n",
            b"3;a\rb",
            b"3;a\0",
            b"0\r\r",
            b"x",
            b"-",
            b"+",
            b"0x",
            b"3_",
            b"3\r\nabcd",
            b"3\r\nabc\n",
            b"3\r\nabc\r\r",
            b"0\r\n\n",
            b"0\r\n\r\r",
            b"0\r\n:",
            b"0\r\nx ",
            b"0\r\nx\r",
            b"0\r\n ",
            b"0\r\nx: y\n",
            b"0\r\nx: y\0",
            b"0\r\na:\r\nb:\r\nc:\r\nd",
            b"00000000000000003",
            &long,
            &trailer,
        ];
        for text in table {
            assert_eq!(in_parts(text, 1), Err(MalformedChunk), "{}", text.escape_ascii());
            assert_eq!(scan(text), Err(MalformedChunk), "{}", text.escape_ascii());
            assert_eq!(scan(&text[..text.len() - 1]), Ok(None), "{} is refused at its last byte", text.escape_ascii());
        }
        // The largest size that is taken, and the next digit.
        assert_eq!(scan(b"7fffffffffffffff\r\n"), Ok(None));
        assert_eq!(scan(b"8000000000000000"), Err(MalformedChunk));
    }

    /// The length of the well-formed body at the start of the text, read the slow way.
    fn oracle(text: &[u8]) -> Option<usize> {
        let line = |at: usize| {
            let end = at + text[at..].iter().position(|&byte| byte == b'\n')?;
            let line = text[at..end].strip_suffix(b"\r")?;
            let controls = line.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t');
            (!controls).then_some((line, end + 1))
        };
        let mut at = 0;
        loop {
            let (size, data) = line(at)?;
            let digits = match size.iter().position(|&byte| byte == b';') {
                Some(end) => size[..end].trim_ascii_end(),
                None => size,
            };
            if size.len() - digits.len() > 256 {
                return None;
            }
            let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            let size = (digits.len() <= 16).then(|| i64::from_str_radix(digits, 16).ok())??;
            at = data;
            if size == 0 {
                break;
            }
            at = at.checked_add(usize::try_from(size).ok()?)?;
            if text.get(at..at.checked_add(2)?)? != b"\r\n" {
                return None;
            }
            at += 2;
        }
        let start = at;
        for count in 0.. {
            let (trailer, next) = line(at)?;
            if trailer.is_empty() {
                return (count <= 3 && at - start <= 60).then_some(next);
            }
            let name = &trailer[..trailer.iter().position(|&byte| byte == b':')?];
            if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) {
                return None;
            }
            at = next;
        }
        None
    }

    /// Pieces of which bodies are made, right and wrong.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let given = |text: &'static [u8]| Just(text.to_vec());
        prop_oneof![
            8 => (prop::collection::vec(any::<u8>(), 0..20), "([ \t]{0,2};[ -~]{0,12})?").prop_map(|(data, extension)| {
                [format!("{:x}{extension}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat()
            }),
            1 => "[0-9a-fA-F]{0,3}[ \t]{0,2};[ -~]{0,12}\r\n".prop_map(String::into_bytes),
            4 => given(b"0\r\n"),
            2 => "[!-~]{0,4}:[ -~]{0,20}\r\n".prop_map(String::into_bytes),
            4 => given(b"\r\n"),
            1 => given(b"\n"),
            1 => given(b"\r"),
            1 => given(b";a"),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_get_the_answer_of_the_oracle_however_they_come(pieces in prop::collection::vec(piece(), 0..8), part in 1usize..30) {
            let text = pieces.concat();
            let answer = scan(&text);
            prop_assert_eq!(answer.ok().flatten(), oracle(&text));
            prop_assert_eq!(in_parts(&text, part), answer);
            prop_assert_eq!(in_parts(&text, 1), answer);
        }

        #[test]
        fn what_is_refused_is_refused_whatever_follows(pieces in prop::collection::vec(piece(), 0..8), tail in prop::collection::vec(piece(), 0..4)) {
            let text = pieces.concat();
            if scan(&text).is_err() {
                let more = [text, tail.concat()].concat();
                prop_assert_eq!(oracle(&more), None);
                prop_assert_eq!(scan(&more), Err(MalformedChunk));
            }
        }
    }
}
