//! MPEG audio and ADTS, which have no header but that of each frame: asks the library to follow the frames,
//! because a sync of eleven or twelve bits proves nothing by itself.

use std::io;

use symphonia::core::errors::Result;
use symphonia::core::formats::probe::{Score, Scoreable};
use symphonia::core::io::{MediaSourceStream, ReadBytes, ScopedStream, SeekBuffered};
use symphonia::default::formats::{AdtsReader, MpaReader};

use super::super::library::{Source, ask_bytes};
use super::Container;

/// Frames after the first that have to be where the lengths say, unless the data ends before.
const FOLLOWING: usize = 2;

/// Finds a frame at the start of the stream and one behind it.
type Pair = for<'a, 'b> fn(ScopedStream<&'a mut MediaSourceStream<'b>>) -> Result<Score>;

/// Recognises a stream of frames that starts at `offset` with these bytes.
pub(super) fn recognise(source: &mut impl Source, offset: u64, head: &[u8]) -> io::Result<Option<Container>> {
    let (container, pair, header): (_, Pair, _) = match head {
        // FF FE is how UTF-16 text begins; as a frame it would be layer I with a checksum, which nothing makes.
        [0xff, 0xfe, ..] => return Ok(None),
        // ADTS is layer 0; its header is two bytes longer with a checksum.
        [0xff, 0xf0 | 0xf8, ..] => (Container::Aac, AdtsReader::score, 9),
        [0xff, 0xf1 | 0xf9, ..] => (Container::Aac, AdtsReader::score, 7),
        [0xff, 0xe0..=0xff, ..] => (Container::Mp3, MpaReader::score, 4),
        _ => return Ok(None),
    };
    ask_bytes(source, offset, |stretch| {
        let end = stretch.byte_len()?;
        let mut stream = MediaSourceStream::new(stretch, Default::default());
        for _ in 0..FOLLOWING {
            let left = end.checked_sub(stream.pos())?;
            match pair(ScopedStream::new(&mut stream, left)) {
                Ok(Score::Supported(u8::MAX)) => stream.seek_buffered_rev(header),
                // There was one frame, and no room for another.
                Ok(Score::Supported(_)) => break,
                Ok(Score::Unsupported) | Err(_) => return None,
            }
        }
        Some(container)
    })
}
