//! Event streams, cut into frames.

use crate::support::kit::frames::{Ends, Frames};

#[test]
fn the_frames_are_the_same_wherever_they_are_cut() {
    let stream = ": hello\nid: 0\ndata: a\n\n: keep-alive\nid: 1\ndata: b\n\ndata: c\n\ndata: not whole\n";
    let whole = [": hello\nid: 0\ndata: a\n\n", ": keep-alive\nid: 1\ndata: b\n\n", "data: c\n\n"];
    for (ends, line_end) in [(Ends::feeds(), "\n"), (Ends::returns(), "\r\n")] {
        let stream = stream.replace('\n', line_end);
        let whole = whole.map(|frame| frame.replace('\n', line_end));
        for cut in 1..=stream.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in stream.as_bytes().chunks(cut) {
                frames.take(piece, &ends, |frame| found.push(String::from_utf8_lossy(frame).into_owned()));
            }
            assert_eq!(found, whole, "cut {cut}");
        }
    }
}
