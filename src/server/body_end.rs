//! Finds the end of the body of an HTTP/1 request. The bytes after the body belong to the next request.

/// The rest of a body that has yet to arrive.
#[derive(Debug, Clone, Copy)]
pub(super) enum BodyEnd {
    /// The body ends after this many bytes.
    After(u64),
    /// The body ends with its last chunk.
    Chunked(ChunkPosition),
    /// The body ends with the connection, like that of `CONNECT`.
    WithConnection,
}

/// A place in a chunked body. The body is assumed to be well-formed, because the dispatcher ends the connection after a
/// malformed body.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChunkPosition {
    /// Within the digits of a chunk's size.
    Size(u64),
    /// After the digits of a chunk's size, in the same line.
    Extension(u64),
    /// Before the last bytes of a chunk.
    Data(u64),
    /// Between a chunk and the next line.
    DataEnd,
    /// In the lines after the last chunk.
    Trailer(Line),
}

/// The bytes so far of a line after the last chunk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line {
    Nothing,
    CarriageReturn,
    More,
}

impl BodyEnd {
    /// Returns the state at the beginning of a chunked body.
    pub(super) fn chunked() -> Self {
        Self::Chunked(ChunkPosition::Size(0))
    }

    /// Returns true at the end of the body.
    pub(super) fn is_reached(self) -> bool {
        matches!(self, Self::After(0))
    }

    /// Processes the next bytes of the connection. Returns how many of them belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::WithConnection => bytes.len(),
            Self::After(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                taken
            }
            Self::Chunked(place) => match place.take(bytes) {
                Some(taken) => {
                    *self = Self::After(0);
                    taken
                }
                None => bytes.len(),
            },
        }
    }
}

impl ChunkPosition {
    /// Processes the next bytes. Returns how many of them belong to the body if the body ends within them.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            *self = match (*self, byte) {
                (Self::Data(left), _) => {
                    // The first byte of the data was already processed.
                    let rest = (left - 1).min((bytes.len() - at) as u64);
                    at += usize::try_from(rest).unwrap_or_default();
                    if left - 1 == rest { Self::DataEnd } else { Self::Data(left - 1 - rest) }
                }
                (Self::DataEnd, b'\n') => Self::Size(0),
                (Self::DataEnd, _) => Self::DataEnd,
                (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer(Line::Nothing),
                (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
                (Self::Size(size), digit) => match char::from(*digit).to_digit(16) {
                    Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                    None => Self::Extension(size),
                },
                (Self::Extension(size), _) => Self::Extension(size),
                (Self::Trailer(Line::CarriageReturn), b'\n') => return Some(at),
                (Self::Trailer(_), b'\n') => Self::Trailer(Line::Nothing),
                (Self::Trailer(Line::Nothing), b'\r') => Self::Trailer(Line::CarriageReturn),
                (Self::Trailer(_), _) => Self::Trailer(Line::More),
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_ends_with_its_last_line_however_it_arrives() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "1a;name=\"0\"\r\nabcdefghijklmnopqrstu0\r\n\r\n\r\n000\r\n\r\n",
            "1 ; x\r\n\n\r\n0;last\r\nDigest: x\r\n: \r\n\r\n",
        ] {
            let all = format!("{body}0\r\n\r\n");
            for size in 1..all.len() {
                let (mut end, mut taken) = (BodyEnd::chunked(), 0);
                while !end.is_reached() {
                    let piece = &all.as_bytes()[taken..];
                    taken += end.take(&piece[..size.min(piece.len())]);
                }
                assert_eq!(taken, body.len(), "{body:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn an_impossible_chunk_size_does_not_overflow() {
        let mut end = BodyEnd::chunked();
        let body = "fffffffffffffffffffff\r\nx";
        assert_eq!(end.take(body.as_bytes()), body.len());
        assert!(!end.is_reached());
    }
}
