//! The health checks: whether the process is alive, and whether it is ready for new tasks. No key is needed.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::Tasks;
use crate::error::Failure;

/// The body of a health check.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Handles `GET /healthz`. Any answer shows that the process is alive.
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Handles `GET /readyz`.
///
/// # Errors
/// `shutting_down` while the server drains; `storage_full` or `storage_unavailable` while the store does not work.
pub(super) async fn ready(tasks: web::Data<Tasks>) -> Result<HttpResponse, Failure> {
    tasks.readiness().await?;
    Ok(HttpResponse::Ok().json(Health { status: "ready" }))
}
