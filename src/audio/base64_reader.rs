//! Reads base64 text as the bytes it stands for.
