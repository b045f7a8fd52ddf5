//! Measures sound: the engine of the embedded channel.
