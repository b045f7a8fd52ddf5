//! A [`Failure`] as an HTTP response, wherever it comes from: the only place that knows how.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use crate::error::{ErrorCode, Failure};
use crate::wire::error::{ErrorBody, HttpError};

/// Tells OpenAI's SDKs whether they may repeat a call by themselves.
pub const SHOULD_RETRY: &str = "x-should-retry";

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.code == ErrorCode::InvalidApiKey {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(ErrorBody { error: HttpError::from(self) })
    }
}

/// Answers any path that is not in the table.
pub async fn not_found(request: HttpRequest) -> HttpResponse {
    Failure::new(
        ErrorCode::NotFound,
        format!("There is nothing at {}; see the README for the paths", request.path()),
    )
    .error_response()
}

/// Answers any method that a path does not know.
pub async fn method_not_allowed(allow: &'static str) -> HttpResponse {
    let mut response =
        Failure::new(ErrorCode::MethodNotAllowed, format!("This path takes {allow} only")).error_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}
