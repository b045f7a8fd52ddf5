//! Schemas of texts that are always one of a few words, for the OpenAPI document. The Rust types cannot express these,
//! because a `&'static str` may be any text.

use utoipa::openapi::schema::Type;
use utoipa::openapi::{Object, ObjectBuilder};

/// Returns the schema of a text that is one of these words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// Returns the same schema with a description.
pub fn described(schema: Object, description: &str) -> Object {
    ObjectBuilder::from(schema).description(Some(description)).build()
}

/// Returns the schema of the constant `list`.
pub(super) fn list() -> Object {
    words(["list"])
}

/// Returns the schema of the constant `model`.
pub(super) fn model() -> Object {
    words(["model"])
}

/// Returns the schema of the constant `null`.
pub(super) fn null() -> Object {
    ObjectBuilder::new().schema_type(Type::Null).build()
}
