//! What is known of the formats of audio files: one file for each format reads its headers, whether of frames, pages, boxes
//! or chunks, and says what stands in them. [`frame`] and [`chunks`] hold what two formats have in common, [`tags`] what
//! stands around any. These files know only [`reading`](super::reading) and each other.
//!
//! The questions are elsewhere: [`recognise`](mod@super::recognise) asks what a file is, [`layout`](super::layout) where its
//! sound lies, and [`library`](super::library) shows the decoder a header that it takes.

pub(super) mod adts;
pub(super) mod aiff;
pub(super) mod chunks;
pub(super) mod flac;
pub(super) mod frame;
pub(super) mod mp4;
pub(super) mod mpeg;
pub(super) mod ogg;
pub(super) mod ogg_sound;
pub(super) mod stream;
pub(super) mod tags;
pub(super) mod wave;
