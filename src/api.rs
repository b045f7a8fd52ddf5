//! The URL table, and the handling that all requests share.

mod answer;
mod body;
mod caller;
mod generations;
mod health;
mod metrics;
mod models;
mod openapi;
mod page;
mod payload_memory;
mod reading;
mod reference;
mod reply;
mod request_log;
mod request_trace;
mod static_content;
mod stream;
mod tasks;
mod unknown_callers;
mod upload_limits;
mod wrong_keys;

use actix_web::{HttpRequest, Route, guard, web};
use utoipa::openapi::path::PathItem;

use caller::Caller;
use openapi as describe;
use reply::method_not_allowed;

use crate::wire::path;
pub use metrics::{MetricsRequest, ServedMetrics};
pub use models::ServingSince;
pub use openapi::OpenApiDocument;
pub use payload_memory::PayloadMemory;
pub use reading::SubmitSettings;
pub use reference::Reference;
pub use request_log::log as log_request;
pub use request_trace::Scheme;
pub use unknown_callers::UnknownCallers;
pub use upload_limits::{UploadKeys, UploadLimits};
pub use wrong_keys::{CloseConnection, WrongKeys};

/// A path, its handlers, and its description in the OpenAPI document.
struct Endpoint {
    path: &'static str,
    /// The methods that the path supports, as the `Allow` header lists them.
    allow: &'static str,
    route: fn() -> Route,
    /// `None` for a file that a page loads, because clients do not call it.
    description: Option<fn() -> PathItem>,
}

/// All paths. [`reply::not_found`] answers requests for other paths.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/v1/llm/generations",
        allow: "POST",
        route: || web::post().to(generations::submit),
        description: Some(describe::generations::submit),
    },
    Endpoint {
        path: "/v1/llm/generations/{task_id}/stream",
        allow: "GET, HEAD",
        route: || get_or_head().to(stream::subscribe),
        description: Some(describe::generations::stream),
    },
    Endpoint {
        path: "/v1/tasks",
        allow: "GET, HEAD",
        route: || get_or_head().to(tasks::list),
        description: Some(describe::tasks::list),
    },
    Endpoint {
        path: "/v1/tasks/{task_id}",
        allow: "GET, HEAD",
        route: || get_or_head().to(tasks::query),
        description: Some(describe::tasks::one),
    },
    Endpoint {
        path: "/v1/tasks/{task_id}/cancel",
        allow: "POST",
        route: || web::post().to(tasks::cancel),
        description: Some(describe::tasks::cancel),
    },
    Endpoint {
        path: path::MODELS,
        allow: "GET, HEAD",
        route: || get_or_head().to(models::with_capabilities),
        description: Some(describe::models::with_capabilities),
    },
    Endpoint {
        path: "/v1/models",
        allow: "GET, HEAD",
        route: || get_or_head().to(models::in_openai_format),
        description: Some(describe::models::in_openai_format),
    },
    Endpoint {
        path: "/",
        allow: "GET, HEAD",
        route: || get_or_head().to(page::index),
        description: Some(describe::service::page),
    },
    Endpoint {
        path: "/page/{file}",
        allow: "GET, HEAD",
        route: || get_or_head().to(page::file),
        description: None,
    },
    Endpoint {
        path: "/healthz",
        allow: "GET, HEAD",
        route: || get_or_head().to(health::alive),
        description: Some(describe::service::alive),
    },
    Endpoint {
        path: "/readyz",
        allow: "GET, HEAD",
        route: || get_or_head().to(health::ready),
        description: Some(describe::service::ready),
    },
    Endpoint {
        path: "/metrics",
        allow: "GET, HEAD",
        route: || get_or_head().to(metrics::serve),
        description: Some(describe::service::metrics),
    },
    Endpoint {
        path: "/openapi.json",
        allow: "GET, HEAD",
        route: || get_or_head().to(openapi::serve),
        description: Some(describe::service::document),
    },
    Endpoint {
        path: "/docs",
        allow: "GET, HEAD",
        route: || get_or_head().to(reference::page),
        description: Some(describe::service::reference),
    },
    Endpoint {
        path: "/docs/{file}",
        allow: "GET, HEAD",
        route: || get_or_head().to(reference::file),
        description: None,
    },
];

/// Registers the table with the application.
pub fn routes(config: &mut web::ServiceConfig) {
    serve(config, |_| true);
}

/// Registers only the paths that a listener for metrics alone serves.
pub fn metrics_routes(config: &mut web::ServiceConfig) {
    serve(config, |path| matches!(path, "/metrics" | "/healthz"));
    config.default_service(web::to(reply::only_metrics));
}

// The log names the key of a request even if no handler needs it.
fn serve(config: &mut web::ServiceConfig, is_wanted: impl Fn(&str) -> bool) {
    for endpoint in ENDPOINTS.iter().filter(|endpoint| is_wanted(endpoint.path)) {
        let allow = endpoint.allow;
        let resource = web::resource(endpoint.path)
            .route((endpoint.route)())
            .default_service(web::to(move |_: Option<Caller>| method_not_allowed(allow)));
        config.service(resource);
    }
    config
        .default_service(web::to(async |request: HttpRequest, _: Option<Caller>| reply::not_found(&request)));
}

/// Returns a route for `GET` and `HEAD`. For `HEAD`, the HTTP server sends the head of the same response without its
/// body.
#[must_use]
pub fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::PathItem;

    use super::*;

    #[test]
    fn the_document_describes_each_method_that_a_path_takes_and_no_other() {
        for Endpoint { path, allow, description, .. } in ENDPOINTS {
            let Some(description) = description else {
                assert!(path.ends_with("/{file}"), "{path} has no description");
                continue;
            };
            let PathItem { get, head, post, put, patch, delete, options, trace, .. } = description();
            let methods = [
                ("GET", get),
                ("HEAD", head),
                ("POST", post),
                ("PUT", put),
                ("PATCH", patch),
                ("DELETE", delete),
                ("OPTIONS", options),
                ("TRACE", trace),
            ];
            let described: Vec<_> =
                methods.iter().filter_map(|(name, it)| it.as_ref().map(|_| *name)).collect();
            // HEAD is served wherever GET is, so it is not described separately.
            assert_eq!(described.join(", ").replace("GET", "GET, HEAD"), *allow, "{path}");
        }
    }
}
