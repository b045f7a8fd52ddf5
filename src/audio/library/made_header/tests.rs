//! Headers as programs write them, and the ones that are made of them.

mod aiff;
pub(crate) mod wave;
