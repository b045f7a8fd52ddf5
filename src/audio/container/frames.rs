//! MPEG audio and ADTS, which have no header except that of each frame. Eleven or twelve bits of a sync prove
//! nothing by themselves: frames have to follow each other where their lengths say, and agree.

use std::io;

use super::super::library::Source;
use super::super::no_audio::NoAudio;
use super::{Container, read_at, read_stretch};

/// Frames after the first that have to be where the lengths say, unless the data ends before.
const FOLLOWING: usize = 2;
/// How far the first frame is searched for behind bytes that are none: zeros, the rest of a frame, what a server
/// put in front.
const SEARCHED: usize = 64 * 1024;
/// Frames that have to agree where they were searched for. With three, in 64 KiB of random bytes one of two
/// billion would be taken for MPEG audio; other bytes are less random than that.
const AGREEING: usize = 4;
/// The longest frame: ADTS writes its length in 13 bits.
const LONGEST: usize = 1 << 13;
/// As much of a frame as holds its header and the mark of an index of MPEG audio.
const HEAD: usize = 48;
/// How tags begin that stand behind the last frame.
const TAGS_BEHIND: [&[u8]; 5] = [b"TAG", b"APETAGEX", b"ID3", b"LYRICS", b"3DI"];

/// Judges a stream of frames that starts at `offset`; `None` if none does.
pub(super) fn at(
    source: &mut impl Source,
    offset: u64,
    end: u64,
) -> io::Result<Option<Result<Container, NoAudio>>> {
    let Some(first) = Frame::read(read_at::<HEAD>(source, offset)?.bytes()) else { return Ok(None) };
    let (mut at, mut sound) = (offset, false);
    for _ in 0..=FOLLOWING {
        let head = read_at::<HEAD>(source, at)?;
        match Frame::read(head.bytes()) {
            Some(frame) if frame.stream == first.stream => {
                at = at.saturating_add(frame.length as u64);
                sound |= at <= end && !frame.is_index;
            }
            _ if head.bytes().len() < HEADER
                || TAGS_BEHIND.iter().any(|tag| head.bytes().starts_with(tag)) =>
            {
                break;
            }
            _ => return Ok(None),
        }
    }
    let container = first.stream.container;
    Ok(Some(if sound { Ok(container) } else { Err(NoAudio::Soundless(container)) }))
}

/// Searches the next [`SEARCHED`] bytes from `offset` on for frames that agree.
pub(super) fn search(source: &mut impl Source, offset: u64) -> io::Result<Option<Container>> {
    let bytes = read_stretch(source, offset, SEARCHED + AGREEING * LONGEST)?;
    let starts = memchr::memchr_iter(0xff, &bytes).take_while(|start| *start < SEARCHED);
    Ok(starts.into_iter().find_map(|start| agreeing(bytes.get(start..)?)))
}

/// What these bytes are if they begin with as many frames as must agree.
///
/// Layer I is left out: nothing makes it, and its frames are so short and so even that the tables in programs look like
/// them. A header that also stands within its frame is none: the pixels of a picture repeat like that.
fn agreeing(mut bytes: &[u8]) -> Option<Container> {
    let first = Frame::read(bytes).filter(|frame| !frame.is_layer_i)?;
    for _ in 0..AGREEING {
        let frame = Frame::read(bytes).filter(|frame| frame.stream == first.stream)?;
        let (whole, rest) = bytes.split_at_checked(frame.length)?;
        let (header, body) = whole.split_at_checked(4)?;
        if memchr::memmem::find(body, header).is_some() {
            return None;
        }
        bytes = rest;
    }
    Some(first.stream.container)
}

/// The length of the header that both kinds need.
const HEADER: usize = 7;

/// What all frames of one stream have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stream {
    container: Container,
    /// The bits of the header that never change within a stream.
    constant: u32,
}

#[derive(Debug)]
struct Frame {
    stream: Stream,
    /// Length in bytes, header included.
    length: usize,
    /// True for the frame of MPEG audio that holds a seek table in place of sound.
    is_index: bool,
    is_layer_i: bool,
}

impl Frame {
    /// Reads the header of the frame that these bytes begin.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<4>()?;
        match *header {
            // This is how UTF-16 text begins; as a frame it would be layer I with a checksum, which nothing makes.
            [0xff, 0xfe, ..] => None,
            // ADTS has layer 0.
            [0xff, 0xf0 | 0xf1 | 0xf8 | 0xf9, ..] => Self::adts(u32::from_be_bytes(*header), rest),
            [0xff, 0xe0..=0xff, ..] => Self::mpeg(u32::from_be_bytes(*header), bytes),
            _ => None,
        }
    }

    /// ISO/IEC 13818-7, section 6.2.
    fn adts(header: u32, rest: &[u8]) -> Option<Self> {
        let (rest, _) = rest.split_first_chunk::<3>()?;
        let rate = (header >> 10) & 0xf;
        let length = ((header & 3) << 11) | (u32::from(rest[0]) << 3) | (u32::from(rest[1]) >> 5);
        let header_length = if header & 0x1_0000 == 0 { 9 } else { HEADER };
        let length = usize::try_from(length).ok().filter(|length| *length > header_length)?;
        // Version, checksum, profile, rate and channels.
        let stream = Stream { container: Container::Aac, constant: header & 0xffff_fdc0 };
        (rate < 13).then_some(Self { stream, length, is_index: false, is_layer_i: false })
    }

    /// ISO/IEC 11172-3, section 2.4.1.3, and 13818-3; version 2.5 is a custom.
    fn mpeg(header: u32, bytes: &[u8]) -> Option<Self> {
        let index = |shift: u32, bits: u32| ((header >> shift) & ((1 << bits) - 1)) as usize;
        let (low, slower) = match index(19, 2) {
            0 => (true, 4),
            2 => (true, 2),
            3 => (false, 1),
            _ => return None,
        };
        let layer = 4_usize.checked_sub(index(17, 2)).filter(|layer| *layer < 4)?;
        let kbits = KBITS.get(match (low, layer) {
            (false, layer) => layer - 1,
            (true, 1) => 3,
            (true, _) => 4,
        })?;
        // The first would be a rate that no header names; nothing makes it.
        let kbits = *kbits.get(index(12, 4).checked_sub(1)?)?;
        let rate = [44_100, 48_000, 32_000].get(index(10, 2))? / slower;
        let padding = index(9, 1);
        let length = match layer {
            1 => (12_000 * kbits / rate + padding) * 4,
            3 if low => 72_000 * kbits / rate + padding,
            _ => 144_000 * kbits / rate + padding,
        };
        let is_mono = index(6, 2) == 3;
        let side = match (low, is_mono) {
            (false, false) => 32,
            (false, true) | (true, false) => 17,
            (true, true) => 9,
        };
        let starts = |at: usize, marks: &[&[u8]]| {
            bytes.get(at..).is_some_and(|bytes| marks.iter().any(|mark| bytes.starts_with(mark)))
        };
        let is_index = layer == 3 && (starts(4 + side, &[b"Xing", b"Info"]) || starts(36, &[b"VBRI"]));
        // Version, layer, and rate.
        let stream = Stream { container: Container::Mp3, constant: header & 0xfffe_0c00 };
        Some(Self { stream, length, is_index, is_layer_i: layer == 1 })
    }
}

/// Bit rates in kbit/s, from index 1 on: of version 1 by layer, then of the others, layer I apart.
const KBITS: [[usize; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
