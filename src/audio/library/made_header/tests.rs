//! Headers as programs write them, and the headers that are made from them.

mod aiff;
pub(crate) mod wave;
