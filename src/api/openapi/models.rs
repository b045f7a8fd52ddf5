//! The lists of models in the document.

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, PathItem};

use super::Tag;
use super::examples::{CHANNEL, MODEL};
use super::parts::{KEYED, failing, json_of, json_response, operation, response};
use crate::wire::task::{List, Model, ModelCapabilities};

/// `GET /v1/configs/llm_generations_models`
pub(crate) fn with_capabilities() -> PathItem {
    let model = ModelCapabilities { id: MODEL, object: "model", capabilities: vec!["text", "audio"] };
    let operation = operation(
        "listModelCapabilities",
        Tag::Models.name(),
        "List models with their capabilities",
        "The models that your key may use. Models that a channel serves through a pattern, as in `gemini-*`, are not \
         listed.",
    )
    .response(
        "200",
        json_response(
            response("The models.", &[]),
            json_of("ModelCapabilitiesList", json!(List::new(vec![model]))),
        ),
    );
    PathItem::new(HttpMethod::Get, failing(operation, KEYED))
}

/// `GET /v1/models`
pub(crate) fn in_openai_format() -> PathItem {
    let model = Model { id: MODEL, object: "model", created: 1_776_874_500, owned_by: CHANNEL };
    let operation = operation(
        "listModels",
        Tag::Models.name(),
        "List models in OpenAI's format",
        "The same models for clients of OpenAI's API. `owned_by` is the name of the channel.",
    )
    .response(
        "200",
        json_response(response("The models.", &[]), json_of("ModelList", json!(List::new(vec![model])))),
    );
    PathItem::new(HttpMethod::Get, failing(operation, KEYED))
}
