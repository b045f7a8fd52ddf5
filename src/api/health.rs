//! Alive, and ready for new tasks. No key is needed.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::Tasks;
use crate::error::Failure;

/// What a probe reads.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Handles `GET /healthz`: the process answers.
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Handles `GET /readyz`.
///
/// # Errors
/// `shutting_down` while no new tasks are taken, `storage_full` or `storage_unavailable` while the store does not work.
pub(super) async fn ready(tasks: web::Data<Tasks>) -> Result<HttpResponse, Failure> {
    tasks.readiness().await?;
    Ok(HttpResponse::Ok().json(Health { status: "ready" }))
}
