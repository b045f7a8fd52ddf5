//! For the OpenAPI document: what the Rust types of the wire cannot say, because a `&'static str` is any text.

use utoipa::openapi::schema::Type;
use utoipa::openapi::{Object, ObjectBuilder};

/// A text that is one of these.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// The same with a description.
pub fn described(schema: Object, description: &str) -> Object {
    ObjectBuilder::from(schema).description(Some(description)).build()
}

/// Always `list`.
pub(super) fn list() -> Object {
    words(["list"])
}

/// Always `model`.
pub(super) fn model() -> Object {
    words(["model"])
}

/// Always `null`.
pub(super) fn null() -> Object {
    ObjectBuilder::new().schema_type(Type::Null).build()
}
