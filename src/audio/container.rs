//! What the bytes are: recognises an audio container from its content.
