//! The paths of the HTTP interface that appear in replies and messages.

use std::fmt::Display;

/// The path of the list of models that a caller may use, with the inputs of each.
pub const MODELS: &str = "/v1/configs/llm_generations_models";

/// Returns the path of a task.
#[must_use]
pub fn task(id: impl Display) -> String {
    format!("/v1/tasks/{id}")
}

/// Returns the path of a task's stream.
#[must_use]
pub fn stream(id: impl Display) -> String {
    format!("/v1/llm/generations/{id}/stream")
}
