//! Recognises other content that users send: recordings in formats that are not accepted, pictures, archives, pages,
//! text. It is recognised by its first bytes, so that a message can name it.

use super::{Foreign, Kind};

/// The number of bytes that are inspected.
pub(crate) const HEAD: usize = 4096;

/// Offset, first bytes there, name and kind. The first row that matches decides.
const SIGNATURES: &[(usize, &[u8], &str, Kind)] = &[
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file", Kind::Recording),
    (0, b"#!AMR", "an AMR recording", Kind::Recording),
    (0, b"caff\0\x01", "a Core Audio (CAF) file", Kind::Recording),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media (WMA, WMV, ASF) file", Kind::Recording),
    (0, b"#!SILK_V3", "a SILK voice message", Kind::Recording),
    (1, b"#!SILK_V3", "a SILK voice message", Kind::Recording),
    (0, b".snd", "an AU file", Kind::Recording),
    (0, b"riff\x2e\x91\xcf\x11", "a Wave64 file", Kind::Recording),
    (0, b"wvpk", "a WavPack file", Kind::Recording),
    (0, b"MAC ", "a Monkey's Audio (APE) file", Kind::Recording),
    (0, b"MPCK", "a Musepack file", Kind::Recording),
    (0, b"MP+", "a Musepack file", Kind::Recording),
    (0, b"TTA1", "a True Audio (TTA) file", Kind::Recording),
    (0, b"DSD ", "a DSD (DSF) file", Kind::Recording),
    (0, b"FRM8", "a DSD (DFF) file", Kind::Recording),
    (0, b".ra\xfd", "a RealAudio file", Kind::Recording),
    (0, b".RMF", "a RealMedia file", Kind::Recording),
    (0, b"Creative Voice File", "a Creative Voice (VOC) file", Kind::Recording),
    (0, b"NIST_1A\n", "a NIST Sphere file", Kind::Recording),
    (0, b"\x0b\x77", "a Dolby Digital (AC-3) file", Kind::Recording),
    (0, b"\x7f\xfe\x80\x01", "a DTS file", Kind::Recording),
    (0, b"FLV\x01", "a Flash video (FLV)", Kind::Recording),
    (8, b"AVI LIST", "an AVI video", Kind::Recording),
    (0, b"\0\0\x01\xba", "an MPEG video", Kind::Recording),
    (0, b"\0\0\x01\xb3", "an MPEG video", Kind::Recording),
    (8, b"8SVX", "an IFF 8SVX file", Kind::Recording),
    (0, b"MThd", "a MIDI file", Kind::Notes),
    (0, b"\xff\xd8\xff", "a JPEG image", Kind::Other),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image", Kind::Other),
    (0, b"GIF8", "a GIF image", Kind::Other),
    (8, b"WEBP", "a WebP image", Kind::Other),
    (0, b"II*\0", "a TIFF image", Kind::Other),
    (0, b"MM\0*", "a TIFF image", Kind::Other),
    (0, b"8BPS", "a Photoshop image", Kind::Other),
    (0, b"%PDF", "a PDF document", Kind::Other),
    (0, b"{\\rtf", "an RTF document", Kind::Other),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document", Kind::Other),
    (0, b"\x7fELF", "a program", Kind::Other),
    (0, b"MZ\x90\0", "a program", Kind::Other),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document", Kind::Archive),
    (0, b"PK\x05\x06", "an empty ZIP archive", Kind::Archive),
    (0, b"\x1f\x8b\x08", "a gzip archive", Kind::Archive),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", Kind::Archive),
    (0, b"Rar!\x1a\x07", "a RAR archive", Kind::Archive),
    (0, b"BZh", "a bzip2 archive", Kind::Archive),
    (0, b"\xfd7zXZ\0", "an xz archive", Kind::Archive),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", Kind::Archive),
    (257, b"ustar", "a tar archive", Kind::Archive),
];

/// Brands of pictures whose first box is that of MPEG-4.
const PICTURES: [(&[u8], &str); 9] = [
    (b"heic", HEIC),
    (b"heix", HEIC),
    (b"hevc", HEIC),
    (b"heim", HEIC),
    (b"heis", HEIC),
    (b"mif1", HEIC),
    (b"msf1", HEIC),
    (b"avif", "an AVIF image"),
    (b"avis", "an AVIF image"),
];
const HEIC: &str = "a HEIC image";

/// The beginnings of pages and texts, in lower case. The first row that matches decides.
const TEXTS: &[(&str, &str, Kind)] = &[
    ("<!doctype html", HTML, Kind::WebPage),
    ("<html", HTML, Kind::WebPage),
    ("<head", HTML, Kind::WebPage),
    ("<body", HTML, Kind::WebPage),
    ("<script", HTML, Kind::WebPage),
    ("<title", HTML, Kind::WebPage),
    ("<meta", HTML, Kind::WebPage),
    ("<!--", HTML, Kind::WebPage),
    ("#extm3u", "a playlist (M3U)", Kind::Playlist),
    ("[playlist]", "a playlist (PLS)", Kind::Playlist),
    ("<asx", "a playlist (ASX)", Kind::Playlist),
    ("<smil", "a playlist (SMIL)", Kind::Playlist),
    ("http://", ADDRESSES, Kind::Playlist),
    ("https://", ADDRESSES, Kind::Playlist),
    ("<rss", FEED, Kind::Playlist),
    ("<feed", FEED, Kind::Playlist),
    ("<mpd", "a playlist (DASH)", Kind::Playlist),
    ("<svg", "an SVG image", Kind::Other),
    ("data:", "a data URI", Kind::Base64),
    ("<", "XML text", Kind::Text),
    ("{", "JSON text", Kind::Text),
    ("[", "JSON text", Kind::Text),
];
const HTML: &str = "a web page (HTML)";
const ADDRESSES: &str = "a list of addresses";
const FEED: &str = "a feed (RSS or Atom)";
/// How base64 of audio begins: of `RIFF`, `ID3`, `OggS`, `fLaC`, and of frames of MPEG audio.
const BASE64: [&str; 6] = ["UklGR", "SUQz", "T2dnU", "ZkxhQ", "//uQ", "//vQ"];

/// Names the format that begins with these bytes; returns `None` if it is not known.
pub(crate) fn name(head: &[u8]) -> Option<Foreign> {
    let fits = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    SIGNATURES
        .iter()
        .find(|(at, magic, ..)| fits(*at, magic))
        .map(|&(_, _, name, kind)| Foreign { name, kind })
        .or_else(|| {
            let name = match head {
                _ if is_loas(head) => "AAC in LATM (LOAS)",
                _ if is_transport_stream(head) => "an MPEG transport stream",
                _ => return None,
            };
            Some(Foreign { name, kind: Kind::Recording })
        })
        .or_else(|| text(head))
}

/// Names the picture whose first box, which is that of MPEG-4, states this brand; returns `None` if the brand is not of
/// a picture.
pub(crate) fn picture(brand: &[u8]) -> Option<Foreign> {
    let (_, name) = PICTURES.iter().find(|(picture, _)| *picture == brand)?;
    Some(Foreign { name, kind: Kind::Other })
}

/// Names text: it has no control characters, and is UTF-8, or UTF-16 with a byte order mark.
fn text(head: &[u8]) -> Option<Foreign> {
    let plain = Foreign { name: "plain text", kind: Kind::Text };
    let text = match head {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some(plain),
        _ => head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head),
    };
    if text.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127)) {
        return None;
    }
    let known = {
        let mut start = text.trim_ascii_start();
        // Skips what precedes the first element: it identifies nothing.
        if let Some(rest) = start.strip_prefix(b"<?xml") {
            let end = memchr::memmem::find(rest, b"?>").map_or(0, |end| end + 2);
            start = rest.get(end..).unwrap_or_default().trim_ascii_start();
            if start.is_empty() {
                start = b"<";
            }
        }
        let begins = |with: &str| {
            start.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
        };
        let base64 = BASE64.iter().any(|with| start.starts_with(with.as_bytes()));
        TEXTS
            .iter()
            .find(|(begin, ..)| begins(begin))
            .map(|&(_, name, kind)| Foreign { name, kind })
            .or(base64.then_some(Foreign { name: "base64 text", kind: Kind::Base64 }))
    };
    // A page may be in one of the old encodings.
    let is_utf8 = match std::str::from_utf8(text) {
        Ok(_) => true,
        // The inspected bytes end within a character.
        Err(err) => err.error_len().is_none(),
    };
    known.or((is_utf8 && !text.is_empty()).then_some(plain))
}

/// Returns true for three LOAS frames in a row (ISO/IEC 14496-3, section 1.7.2): each has a sync of eleven bits, then a
/// length in thirteen bits.
fn is_loas(head: &[u8]) -> bool {
    let mut rest = head;
    for frame in 0..3 {
        let Some([0x56, high @ 0xe0..=0xff, low, ..]) = rest.first_chunk::<3>() else { return false };
        let length = 3 + (usize::from(high & 0x1f) << 8 | usize::from(*low));
        match rest.get(length..) {
            Some(next) if !next.is_empty() => rest = next,
            // The inspected bytes may end before the third frame.
            _ => return frame > 0,
        }
    }
    true
}

/// Returns true for a packet of 188 bytes with two more behind it (ISO/IEC 13818-1, section 2.4.3).
fn is_transport_stream(head: &[u8]) -> bool {
    [0, 188, 376].into_iter().all(|at| head.get(at) == Some(&0x47))
}
