//! What `overhead` is made of: an upstream that answers after a moment, one who asks it through hearken or straight, and
//! the table of what was found.

pub(crate) mod added;
pub(crate) mod ask;
pub(crate) mod upstream;
