//! The knowledge of the formats of audio files. One file for each format reads its headers of frames, pages, boxes or
//! chunks. [`frame`] and [`chunks`] hold what two formats have in common; [`tags`] knows the tags around any format.
//! These files know only [`reading`](super::reading) and each other.
//!
//! Other modules use this knowledge: [`recognise`](mod@super::recognise) to find the container of a file,
//! [`layout`](super::layout) to find its sound, and [`library`](super::library) to make headers that the decoder
//! accepts.

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
