//! An event stream that is cut into its frames as it arrives.

use std::rc::Rc;

use memchr::memmem::Finder;

/// An event stream that is being received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    /// The beginning of a frame that is not complete yet.
    begun: Vec<u8>,
}

/// The end of a frame: two line ends. It is built once, because that takes longer than using it.
#[derive(Debug, Clone)]
pub(crate) struct Ends(Rc<Finder<'static>>);

impl Ends {
    /// Lines end with a line feed, as hearken's do.
    pub(crate) fn feeds() -> Self {
        Self(Rc::new(Finder::new("\n\n")))
    }

    /// Lines end with a carriage return and a line feed, as Gemini's do.
    pub(crate) fn returns() -> Self {
        Self(Rc::new(Finder::new("\r\n\r\n")))
    }

    /// Returns where the first frame in these bytes ends.
    fn first(&self, bytes: &[u8]) -> Option<usize> {
        self.0.find(bytes).map(|at| at + self.0.needle().len())
    }

    /// Returns where the first frame ends if its end is split between two reads.
    fn split(&self, begun: &[u8], bytes: &[u8]) -> Option<usize> {
        let needle = self.0.needle();
        (1..needle.len()).find(|taken| {
            let (before, after) = needle.split_at(needle.len() - taken);
            begun.ends_with(before) && bytes.starts_with(after)
        })
    }
}

impl Frames {
    /// Takes received bytes, and passes on each complete frame with its blank line. Comments are a part of the frame
    /// that follows them.
    pub(crate) fn take(&mut self, mut bytes: &[u8], ends: &Ends, mut on_frame: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            let Some(end) = ends.split(&self.begun, bytes).or_else(|| ends.first(bytes)) else {
                self.begun.extend_from_slice(bytes);
                return;
            };
            self.begun.extend_from_slice(&bytes[..end]);
            on_frame(&self.begun);
            self.begun.clear();
            bytes = &bytes[end..];
        }
        while let Some(end) = ends.first(bytes) {
            on_frame(&bytes[..end]);
            bytes = &bytes[end..];
        }
        self.begun.extend_from_slice(bytes);
    }
}
