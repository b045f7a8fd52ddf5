//! The headers of frames in the formats without any other header: MPEG audio and ADTS. A sync of eleven or twelve bits
//! may occur by chance, so code that looks for frames must check that another frame follows where one ends.

/// The longest header of a frame: that of ADTS with its checksum.
pub(crate) const LONGEST_HEADER: usize = 9;
/// The shortest header of a frame: that of ADTS without a checksum.
pub(crate) const HEADER: usize = 7;

/// A frame, described by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Length in bytes, header included.
    pub(crate) size: u64,
    /// Number of samples in each channel.
    pub(crate) samples: u32,
    /// The format of the samples.
    pub(crate) format: Format,
    /// The bits of the header that one encoder never changes. They also distinguish frames of MPEG audio from those of
    /// ADTS.
    pub(crate) constant: u32,
}

/// The properties that all frames of one file share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// Version and layer, as in the header of MPEG audio; 0 in ADTS.
    pub(crate) kind: u8,
    pub(crate) rate: u32,
    /// The number of channels; 0 if the header does not state it.
    pub(crate) channels: u8,
}

/// The facts about the whole file that its first frame may state instead of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Info {
    /// The number of frames that follow.
    pub(crate) frames: Option<u64>,
    /// The samples to drop from the start and from the end.
    pub(crate) delay: u64,
    pub(crate) padding: u64,
}

impl Frame {
    /// Returns true for a frame of ADTS, false for MPEG audio.
    pub(crate) fn is_adts(&self) -> bool {
        self.format.is_adts()
    }
}

impl Format {
    /// Returns true for frames of ADTS, false for MPEG audio.
    pub(crate) fn is_adts(&self) -> bool {
        self.kind == 0
    }
}

/// Returns true if these bytes, the last of a file, are the beginning of a header.
pub(crate) fn is_begun(head: &[u8]) -> bool {
    head.first() == Some(&0xff) && head.get(1).is_none_or(|second| second >> 5 == 7)
}
