//! Finds the links of an Ogg file: a file is a chain of links, each with its own streams. If a page begins a stream and
//! the page before did not, another link begins.
//!
//! A link lasts as long as its present sound. Positions measure the sound between pages that follow each other; packets
//! measure it where pages are missing, damaged or cut.

use std::io;

use super::beginning::{self, Beginning, Within};
use super::scan::Scan;
use super::{Layout, Part, time};
use crate::audio::container::Container;
use crate::audio::format::ogg::{FoundPage, LONGEST_HEADER, MOST_NEEDED, PageHeader, PageState};
use crate::audio::format::ogg_sound::Sound;
use crate::audio::reading::Source;

/// The longest gap between two pages, or before the first one, that counts as missing sound, in seconds. A longer gap
/// may mean that the recording joined a running stream.
const LONGEST_HOLE: u64 = 60;

/// Finds the links from `start` on, and the file of another kind that follows.
pub(super) fn find<S: Source>(
    layout: &mut Layout,
    scan: &mut Scan<'_, S>,
    start: u64,
) -> io::Result<Option<Beginning>> {
    let end = scan.range.end;
    let mut at = start;
    let mut last = at;
    let mut link = Link::begin(at);
    while at < end {
        let Some(found) = page_at(scan, at)? else { break };
        let Ok(found) = found else {
            link.has_skipped = true;
            let is_page = PageHeader::read(scan.bytes(at, LONGEST_HEADER)?).is_some();
            match beginning::next(scan, at + u64::from(is_page), Within::Ogg)? {
                Some(next) if next.container == Container::Ogg => at = next.at.max(at + 1),
                Some(next) => {
                    let is_added = layout.push(link.part(last));
                    return Ok(Some(next).filter(|_| is_added));
                }
                None => break,
            }
            continue;
        };
        let bytes = scan.bytes(at, found.length)?;
        if found.page.begins && link.has_content {
            if !layout.push(link.part(last)) {
                return Ok(None);
            }
            link = Link::begin(at);
        }
        link.add(&found, bytes);
        at += found.length as u64;
        last = at;
    }
    if at < end && scan.is_exhausted() {
        link.estimate(scan, at)?;
        last = end;
    }
    layout.push(link.part(last));
    Ok(None)
}

/// Looks for a page at `at`; returns `None` if no more may be read.
fn page_at<S: Source>(scan: &mut Scan<'_, S>, at: u64) -> io::Result<Option<Result<FoundPage, usize>>> {
    let needed = FoundPage::needed(scan.bytes(at, LONGEST_HEADER)?);
    if let Some(found) = FoundPage::whole(scan.bytes(at, needed)?) {
        return Ok(Some(Ok(found)));
    }
    let all = MOST_NEEDED as u64;
    let left = scan.range.end.saturating_sub(at).min(all);
    let bytes = scan.bytes(at, MOST_NEEDED)?;
    Ok((bytes.len() as u64 >= left).then(|| FoundPage::at_start(bytes)))
}

/// A link of the chain.
struct Link {
    start: u64,
    has_content: bool,
    /// Whether its last page is cut off, or ends in the middle of a packet.
    is_cut: bool,
    /// Whether bytes outside of pages were skipped since the last page.
    has_skipped: bool,
    sound: Option<Stream>,
}

impl Link {
    fn begin(start: u64) -> Self {
        Self { start, has_content: false, is_cut: false, has_skipped: false, sound: None }
    }

    /// Adds a page, and the stream that it begins if that is a stream of sound.
    fn add(&mut self, found: &FoundPage, bytes: &[u8]) {
        let FoundPage { page, state, .. } = found;
        self.has_content |= !page.begins;
        self.is_cut = page.goes_on || *state == PageState::Cut;
        if page.begins && self.sound.is_none() {
            self.sound = found.packets(bytes).next().and_then(|packet| Stream::read(page.serial, packet));
        }
        if let Some(sound) = self.sound.as_mut().filter(|sound| sound.serial == page.serial) {
            sound.add(found, bytes, self.has_skipped);
            self.has_skipped = false;
        } else {
            // The stream number of a damaged page may itself be damaged.
            self.has_skipped |= *state == PageState::Damaged;
        }
    }

    /// Adds the sound behind `at`, where pages are not inspected: measured by the last page, or else by the length in
    /// bytes.
    fn estimate<S: Source>(&mut self, scan: &mut Scan<'_, S>, at: u64) -> io::Result<()> {
        let Some(sound) = &mut self.sound else { return Ok(()) };
        let end = scan.range.end;
        let tail = scan.read_apart(end.saturating_sub(2 * MOST_NEEDED as u64).max(at)..end)?;
        let (mut rest, mut last) = (&tail[..], None);
        while !rest.is_empty() {
            let length = match FoundPage::at_start(rest) {
                Ok(found) => {
                    let is_of_sound = found.page.serial == sound.serial && found.state == PageState::Whole;
                    last = found.page.end_of_sound().filter(|_| is_of_sound).or(last);
                    found.length
                }
                Err(length) => length,
            };
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
        let more = sound.position.zip(last).and_then(|(known, last)| last.checked_sub(known));
        let by_length = || {
            let scanned = u128::from(at.saturating_sub(self.start).max(1));
            let more = u128::from(sound.present) * u128::from(end - at) / scanned;
            u64::try_from(more).unwrap_or(u64::MAX)
        };
        let more = more.unwrap_or_else(by_length);
        sound.present = sound.present.saturating_add(more);
        Ok(())
    }

    fn part(&self, end: u64) -> Part {
        let mut part = Part { is_cut: self.is_cut, ..Part::new(Container::Ogg, self.start..end) };
        if let Some(sound) = &self.sound {
            part.duration = Some(time(sound.present, sound.rate)).filter(|present| !present.is_zero());
            let promised = sound.present.saturating_add(sound.missing);
            part.promised = Some(time(promised, sound.rate)).filter(|_| sound.has_end && !self.is_cut);
            // If the last page is lost, no page number shows it.
            part.damages = sound.damages + u64::from(self.has_skipped && !sound.has_end);
            part.has_loose_end = !sound.has_positions;
        }
        part
    }
}

/// A stream of sound, as far as it was followed.
struct Stream {
    serial: [u8; 4],
    rate: u32,
    sound: Sound,
    /// The number of samples that are present.
    present: u64,
    /// The number of samples that the positions count but that are not present.
    missing: u64,
    /// The number of places where pages are damaged or missing.
    damages: u64,
    /// Whether its last page was seen.
    has_end: bool,
    /// Whether all positions state where sound ends.
    has_positions: bool,
    has_sound: bool,
    /// The last position of a whole page, and the samples that were counted behind it.
    counted_to: u64,
    counted_after: u64,
    /// Whether a hole or sound was seen. Before that, nothing shows what is missing.
    can_miss: bool,
    /// Whether pages are missing between the last packet and the next.
    is_behind_hole: bool,
    /// The number that the next page has.
    next: Option<u32>,
    /// The position at which the sound of the page before ended, if it is known.
    position: Option<u64>,
}

impl Stream {
    /// Reads the first packet of a stream; returns `None` if it is not known to be sound, or if its rate is not known.
    fn read(serial: [u8; 4], packet: &[u8]) -> Option<Self> {
        let sound = Sound::read(packet)?;
        Some(Self {
            serial,
            rate: sound.rate?,
            sound,
            present: 0,
            missing: 0,
            damages: 0,
            has_end: false,
            has_positions: true,
            has_sound: false,
            counted_to: sound.skipped,
            counted_after: 0,
            can_miss: false,
            is_behind_hole: false,
            next: None,
            position: Some(sound.skipped),
        })
    }

    /// Adds a page of the stream; bytes before it may have been skipped.
    fn add(&mut self, found: &FoundPage, bytes: &[u8], has_skipped: bool) {
        let FoundPage { page, state, packets, .. } = found;
        let is_whole = *state == PageState::Whole;
        let next = self.next.unwrap_or(page.number);
        // If a recording joined a running stream, nothing is missing behind its headers.
        let is_behind_hole = is_whole && page.number > next && (self.has_sound || has_skipped);
        self.damages += u64::from(is_behind_hole) + u64::from(*state == PageState::Damaged);
        self.is_behind_hole |= is_behind_hole;
        self.has_end |= page.ends;
        self.next = Some(if is_whole { page.number } else { next }.wrapping_add(1));
        let length = found.packets(bytes).map(|packet| self.sound.samples(packet)).sum();
        let is_sound = self.has_sound || length > 0 || page.end_of_sound().is_some();
        if *packets > 0 && is_sound && !page.begins {
            self.add_sound(found, length);
        }
    }

    /// Adds the packets of a page, which have about `length` samples.
    fn add_sound(&mut self, found: &FoundPage, length: u64) {
        let FoundPage { page, state, .. } = found;
        let is_whole = *state == PageState::Whole;
        let written = page.end_of_sound();
        let reach = self.position.map(|from| from..=from.saturating_add(length));
        // The position of a damaged page counts only if its packets confirm the distance.
        let end = written.filter(|end| is_whole || reach.is_some_and(|reach| reach.contains(end)));
        let far = self.position.zip(end).map(|(from, end)| end.saturating_sub(from));
        // The packets of the first page show whether a recording joined a running stream; all others follow the page
        // before.
        let room = if self.has_sound { length.saturating_add(self.rate.into()) } else { length / 4 };
        let is_near = |far: &u64| length == 0 || *far <= length.saturating_add(room);
        let played = if self.has_sound { length } else { length.saturating_sub(self.sound.skipped) };
        let present = far.filter(is_near).filter(|_| !self.is_behind_hole).unwrap_or(played);
        self.present = self.present.saturating_add(present);
        self.counted_after = self.counted_after.saturating_add(present);
        self.can_miss |= self.has_sound || self.is_behind_hole;
        if let Some(end) = end.filter(|_| is_whole) {
            let far = end.saturating_sub(self.counted_to);
            if self.can_miss && far <= LONGEST_HOLE * u64::from(self.rate) {
                self.missing = self.missing.saturating_add(far.saturating_sub(self.counted_after));
            }
            (self.counted_to, self.counted_after) = (end, 0);
        }
        let reckoned =
            self.position.filter(|_| !self.is_behind_hole).map(|from| from.saturating_add(present));
        self.position = end.or(reckoned);
        self.has_positions &= is_whole && written.is_some();
        self.has_sound = true;
        self.is_behind_hole = false;
    }
}
