//! Alive, and ready for new tasks. No key is needed.

use actix_web::{HttpResponse, Route, guard, web};
use serde::Serialize;

use crate::actors::Tasks;
use crate::error::Failure;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// A route for the methods with which probes ask.
#[must_use]
pub fn probe() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Handles `GET /healthz`: the process answers.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Handles `GET /readyz`.
///
/// # Errors
/// `shutting_down` while no new tasks are taken.
pub async fn ready(tasks: web::Data<Tasks>) -> Result<HttpResponse, Failure> {
    if tasks.is_accepting().await {
        Ok(HttpResponse::Ok().json(Health { status: "ready" }))
    } else {
        Err(Failure::shutting_down())
    }
}
