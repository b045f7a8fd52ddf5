//! The counts of a subscriber.

use crate::support::chunks::frame;
use crate::support::fan::subscriber::{Subscriber, Tally};
use crate::support::stamp::Stamp;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn stream(indices: &[u64]) -> Vec<u8> {
    let mut stream = HEAD.to_vec();
    stream.extend_from_slice(b"d\r\n: keep-alive\n\r\n");
    for index in indices {
        frame(Stamp { made: 1_000, index: *index }, &mut stream);
    }
    stream
}

fn read(stream: &[u8], cut: usize) -> (Subscriber, Tally) {
    let (mut subscriber, mut tally) = (Subscriber::new(), Tally::new().unwrap());
    for piece in stream.chunks(cut) {
        subscriber.take(piece, 3_000, &mut tally).unwrap();
    }
    (subscriber, tally)
}

#[test]
fn each_event_counts_once_wherever_the_stream_is_cut() {
    let stream = [stream(&[0, 1, 2]), b"0\r\n\r\n".to_vec()].concat();
    for cut in 1..=stream.len() {
        let (subscriber, tally) = read(&stream, cut);
        assert!(subscriber.response().has_ended(), "cut {cut}");
        assert_eq!((tally.delivered, tally.missing, tally.repeated), (3, 0, 0), "cut {cut}");
        assert_eq!((tally.first, tally.last, subscriber.next()), (1_000, 3_000, 3), "cut {cut}");
    }
}

#[test]
fn gaps_count_as_missing_and_repeats_as_repeated() {
    let (subscriber, tally) = read(&stream(&[0, 2, 3, 3, 1, 4]), 99);
    assert_eq!((tally.delivered, tally.missing, tally.repeated), (4, 1, 2));
    assert!(!subscriber.response().has_ended());
}

#[test]
fn a_refused_subscription_is_an_error() {
    let refused = Subscriber::new().take(b"HTTP/1.1 404 Nothing\r\n\r\n", 0, &mut Tally::new().unwrap());
    assert!(refused.unwrap_err().to_string().contains("404"));
}
