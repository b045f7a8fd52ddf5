//! Finds the sound in a file. A file may consist of several files, one after the other. It may end too early, and other
//! content may follow its sound. The frames, pages and chunks that are present are counted, and not what a header
//! states. Nothing is decoded.

mod beginning;
mod chunks;
mod flac;
mod frames;
mod mp4;
mod ogg;
mod scan;
mod unknown;

use std::io::{self, SeekFrom};
use std::ops::Range;
use std::time::Duration;

use symphonia::core::formats::FormatReader;

use super::container::Container;
use super::format::tags;
use super::library::{MOST_READ, ask_part, is_sound};
use super::reading::Source;
use scan::Scan;
pub(crate) use unknown::Unknown;

/// The longest duration that a header may state; a longer one is wrong. The longest audio in a request lasts for hours.
pub(crate) const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The most parts that are distinguished; audio books are joined from sentences.
const MOST_PARTS: usize = 20_000;
/// The most parts whose length is requested from the library, because each request costs some reads.
const MOST_REQUESTED: usize = 256;

/// A file within the file. Most files have one part, which is the whole file; joined files have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The container: files of different kinds may have been joined.
    pub(crate) container: Container,
    /// The range of the part's bytes, without tags around it that could be mistaken for sound.
    pub(crate) range: Range<u64>,
    /// How long the present bytes last, if that is known.
    pub(crate) duration: Option<Duration>,
    /// True if the part's last frame, page or box goes on behind the end of the file.
    pub(crate) is_cut: bool,
    /// How long the part would last if nothing were missing; `None` if its layout does not show that.
    pub(crate) promised: Option<Duration>,
    /// The number of places where the part is damaged, or where some of it is missing.
    pub(crate) damages: u64,
    /// True if nothing reliable shows how much of the part's last packet counts.
    pub(crate) has_loose_end: bool,
}

impl Part {
    /// Makes a part of which only the container and the range are known.
    fn new(container: Container, range: Range<u64>) -> Self {
        Self {
            container,
            range,
            duration: None,
            is_cut: false,
            promised: None,
            damages: 0,
            has_loose_end: false,
        }
    }
}

/// The parts of a file, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) parts: Vec<Part>,
    /// Other bytes within parts, as many ranges as are distinguished.
    between: Vec<Range<u64>>,
    /// True if there are more parts than are distinguished.
    pub(crate) has_more: bool,
}

impl Layout {
    /// Finds the parts of the file in `source`, the first of which is of this container. At most `most` bytes are
    /// searched for frames and pages; the bytes behind them belong to the last part that was found. Leaves `source` at
    /// its start.
    ///
    /// # Errors
    /// Only a failure of the source.
    pub(crate) fn find(source: &mut impl Source, container: Container, most: u64) -> io::Result<Self> {
        let tags = tags::in_front(source)?;
        let end = source.seek(SeekFrom::End(0))?;
        let start = tags.end.min(end);
        let mut layout = Self::default();
        let mut scan = Scan::new(source, start..end, most);
        let mut next = Some((container, start));
        while let Some((container, at)) = next {
            let found = match container {
                Container::Mp3 | Container::Aac => frames::find(&mut layout, &mut scan, at),
                Container::Flac => flac::find(&mut layout, &mut scan, at),
                Container::Ogg => ogg::find(&mut layout, &mut scan, at),
                Container::M4a => mp4::find(&mut layout, &mut scan, at, most),
                Container::Wav | Container::Aiff => chunks::find(&mut layout, &mut scan, at, container),
            };
            next = found?.map(|found| (found.container, found.at));
        }
        if layout.parts.is_empty() {
            layout.push(Part::new(container, start..end));
        }
        layout.request_lengths(source)?;
        source.seek(SeekFrom::Start(0))?;
        Ok(layout)
    }

    /// Returns how long the parts last together, as far as that is known.
    pub(crate) fn duration(&self) -> Option<Duration> {
        self.parts.iter().filter_map(|part| part.duration).reduce(Duration::saturating_add)
    }

    /// Adds a part; returns `false` if there are too many already.
    fn push(&mut self, part: Part) -> bool {
        self.has_more = self.parts.len() >= MOST_PARTS;
        if !self.has_more {
            self.parts.push(part);
        }
        !self.has_more
    }

    /// Records bytes within a part that do not belong to it.
    fn add_other_bytes(&mut self, range: Range<u64>) {
        if self.between.len() < MOST_PARTS {
            self.between.push(range);
        }
    }

    /// Requests from the library the lengths that were not counted.
    fn request_lengths(&mut self, source: &mut impl Source) -> io::Result<()> {
        // The pages of Ogg show everything that the library knows, and more.
        let unknown = self.parts.iter_mut().filter(|part| part.container != Container::Ogg);
        let unknown = unknown.filter(|part| part.duration.is_none());
        for part in unknown.take(MOST_REQUESTED) {
            part.duration =
                ask_part(source, part.range.clone(), part.container, MOST_READ, |format| length(format))?;
        }
        Ok(())
    }
}

/// Returns the length of the first sound track that has one.
fn length(format: &dyn FormatReader) -> Option<Duration> {
    format.tracks().iter().filter(|track| is_sound(track)).find_map(|track| {
        let length = track.time_base?.calc_duration(track.duration?)?;
        Duration::try_from_secs_f64(length.as_secs_f64()).ok().filter(|length| *length <= LONGEST)
    })
}

/// Returns the duration of this number of samples.
fn time(samples: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    let nanos = u128::from(samples % rate) * 1_000_000_000 / u128::from(rate);
    Duration::new(samples / rate, u32::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
pub(crate) mod tests;
