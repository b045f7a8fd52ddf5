//! Lists the models that the caller may use, in hearken's own format and in OpenAI's.

use actix_web::{HttpResponse, web};

use super::caller::Caller;
use crate::channel::{Capability, Channels};
use crate::task::Timestamp;
use crate::wire::task::{List, Model, ModelCapabilities};

/// The time since which this server serves its models.
#[derive(Debug, Clone, Copy)]
pub struct ServingSince(pub Timestamp);

/// Handles `GET /v1/configs/llm_generations_models`.
pub(super) async fn with_capabilities(caller: Caller, channels: web::Data<Channels>) -> HttpResponse {
    let models = channels.listed_models();
    let usable = models.iter().filter(|(id, _)| caller.may_use(id)).map(|(id, channel)| ModelCapabilities {
        id,
        object: "model",
        capabilities: channel.capabilities.iter().copied().map(Capability::as_str).collect(),
    });
    HttpResponse::Ok().json(List::new(usable.collect()))
}

/// Handles `GET /v1/models`.
pub(super) async fn in_openai_format(
    caller: Caller,
    channels: web::Data<Channels>,
    since: web::Data<ServingSince>,
) -> HttpResponse {
    let models = channels.listed_models();
    let usable = models.iter().filter(|(id, _)| caller.may_use(id)).map(|(id, channel)| Model {
        id,
        object: "model",
        created: since.0.seconds(),
        owned_by: &channel.name,
    });
    HttpResponse::Ok().json(List::new(usable.collect()))
}
