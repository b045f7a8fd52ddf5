//! The modules of `overhead`: an upstream that answers after a delay, a client that calls it directly or through
//! hearken, and the table of findings.

pub(crate) mod added;
pub(crate) mod ask;
pub(crate) mod upstream;
