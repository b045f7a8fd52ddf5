//! How long a file says that it lasts: by its header or index, by its last page, or by the size of its frames.
//! Nothing is decoded, and nobody vouches for what a file says.

use std::io::SeekFrom;
use std::time::Duration;

use symphonia::core::formats::FormatReader;

use super::container::{self, Container};
use super::library::{Source, ask, is_sound};

/// What says more is a lie: the highest that a request may carry lasts for hours.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads how long the file in `source`, which is of this container, says that it lasts, in a bounded number of
/// bytes; `None` if it does not say. Leaves `source` at its start.
///
/// For MPEG audio without a tag of its length and for ADTS this is an estimate from some of the frames.
pub fn stated(source: &mut impl Source, container: Container) -> Option<Duration> {
    let tags = container::tags(source).ok()?;
    let length = ask(source, tags.end, container, length).ok();
    source.seek(SeekFrom::Start(0)).ok()?;
    length.flatten().filter(|length| (1..=LONGEST.as_nanos()).contains(&length.as_nanos()))
}

/// The length of the first track of sound that has one.
fn length(format: &dyn FormatReader) -> Option<Duration> {
    format.tracks().iter().filter(|track| is_sound(track)).find_map(|track| {
        let length = track.time_base?.calc_duration(track.duration?)?;
        Duration::try_from_secs_f64(length.as_secs_f64()).ok()
    })
}

#[cfg(test)]
mod tests;
