//! What the headers of frames say, in the formats that have no other header: MPEG audio and ADTS. Eleven or twelve bits
//! of a sync prove nothing by themselves: whatever asks for frames has to look whether another follows where one ends.

/// The longest header of a frame; that of ADTS with its checksum.
pub(crate) const LONGEST_HEADER: usize = 9;
/// The shortest header that every such frame has room for; that of ADTS without a checksum.
pub(crate) const HEADER: usize = 7;

/// A frame, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Length in bytes, header included.
    pub(crate) size: u64,
    /// Samples of each channel.
    pub(crate) samples: u32,
    /// How its samples are to be played.
    pub(crate) format: Format,
    /// The bits of the header that one encoder never changes. They tell frames of MPEG audio from those of ADTS, too.
    pub(crate) constant: u32,
}

/// What is the same in all frames of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// Version and layer, as the header of MPEG audio has them; 0 in ADTS.
    pub(crate) kind: u8,
    pub(crate) rate: u32,
    /// By their number; what the header does not say is 0.
    pub(crate) channels: u8,
}

/// What the first frame of a file says of the whole, instead of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Info {
    /// How many frames follow.
    pub(crate) frames: Option<u64>,
    /// Samples to drop from the start and from the end.
    pub(crate) delay: u64,
    pub(crate) padding: u64,
}

impl Frame {
    /// Returns whether this is a frame of ADTS, and not of MPEG audio.
    pub(crate) fn is_adts(&self) -> bool {
        self.format.is_adts()
    }
}

impl Format {
    /// Returns whether these are frames of ADTS, and not of MPEG audio.
    pub(crate) fn is_adts(&self) -> bool {
        self.kind == 0
    }
}

/// Returns whether these bytes, the last of a file, are the beginning of a header.
pub(crate) fn is_begun(head: &[u8]) -> bool {
    head.first() == Some(&0xff) && head.get(1).is_none_or(|second| second >> 5 == 7)
}
