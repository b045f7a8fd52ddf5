//! Random texts from a cryptographic generator.

use rand::RngExt;

/// Returns `length` characters of `a-z0-9` from a cryptographic generator.
#[must_use]
pub fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
