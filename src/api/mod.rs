//! The URL table, and what all requests have in common.

pub mod body;
pub mod caller;
pub mod generations;
pub mod health;
pub mod models;
pub mod page;
pub mod payload_memory;
pub mod reply;
pub mod request_log;
pub mod request_trace;
pub mod stream;
pub mod tasks;
pub mod upgrade;

use actix_web::{Route, web};

use reply::method_not_allowed;

/// All paths there are; any other is answered by [`reply::not_found`].
pub fn routes(config: &mut web::ServiceConfig) {
    let at = |path: &str, allow: &'static str, route: Route| {
        web::resource(path).route(route).default_service(web::to(move || method_not_allowed(allow)))
    };
    config
        .service(at("/v1/llm/generations", "POST", web::post().to(generations::submit)))
        .service(at("/v1/llm/generations/{task_id}/stream", "GET", web::get().to(stream::subscribe)))
        .service(at("/v1/tasks", "GET", web::get().to(tasks::list)))
        .service(at("/v1/tasks/{task_id}", "GET", web::get().to(tasks::query)))
        .service(at("/v1/tasks/{task_id}/cancel", "POST", web::post().to(tasks::cancel)))
        .service(at("/v1/configs/llm_generations_models", "GET", web::get().to(models::with_capabilities)))
        .service(at("/v1/models", "GET", web::get().to(models::in_openai_shape)))
        .service(at("/", "GET, HEAD", health::probe().to(page::index)))
        .service(at("/page/{file}", "GET, HEAD", health::probe().to(page::file)))
        .service(at("/healthz", "GET, HEAD", health::probe().to(health::alive)))
        .service(at("/readyz", "GET, HEAD", health::probe().to(health::ready)))
        .default_service(web::to(reply::not_found));
}
