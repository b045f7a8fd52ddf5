//! `GET /docs`: the OpenAPI document as a page, shown by Swagger UI, without a request to another server.
//!
//! `utoipa-swagger-ui` embeds the compressed files of Swagger UI in the program. The page itself is hearken's, because
//! Swagger UI's page needs a less strict policy and one more file.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use super::reply;
use super::static_content::StaticContent;

/// The policy that allows only this server's own files, and `data:` URLs for the icons of the style sheets. The page
/// itself contains no style and no script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The page and its files.
#[derive(Debug, Clone)]
pub struct Reference {
    page: StaticContent,
    files: [(&'static str, StaticContent); 4],
}

impl Reference {
    /// Loads the files that are embedded in the program.
    #[must_use]
    pub fn new() -> Self {
        let own = |content_type, text: &'static str| guarded(StaticContent::new(content_type, text));
        Self {
            page: own("text/html; charset=utf-8", include_str!("reference/page.html")),
            files: [
                ("page.js", own(SCRIPT, include_str!("reference/page.js"))),
                ("page.css", own(STYLE, include_str!("reference/page.css"))),
                ("swagger-ui-bundle.js", packed(SCRIPT, "swagger-ui-bundle.js")),
                ("swagger-ui.css", packed(STYLE, "swagger-ui.css")),
            ],
        }
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a file of Swagger UI.
fn packed(content_type: &'static str, name: &str) -> StaticContent {
    // The configuration is empty, because it is for a file that is not served. Tests find an unknown name.
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from(""))).ok().flatten();
    let bytes = match file.map(|file| file.bytes) {
        Some(Cow::Borrowed(bytes)) => Bytes::from_static(bytes),
        Some(Cow::Owned(bytes)) => Bytes::from(bytes),
        None => Bytes::new(),
    };
    guarded(StaticContent::packed(content_type, bytes))
}

fn guarded(content: StaticContent) -> StaticContent {
    content.with(header::CONTENT_SECURITY_POLICY, POLICY).with(header::REFERRER_POLICY, "no-referrer")
}

/// Handles `GET /docs`.
pub(super) async fn page(request: HttpRequest, reference: web::Data<Reference>) -> HttpResponse {
    reference.page.answer(&request)
}

/// Handles `GET /docs/{file}`.
pub(super) async fn file(
    request: HttpRequest,
    name: web::Path<String>,
    reference: web::Data<Reference>,
) -> HttpResponse {
    match reference.files.iter().find(|(file, _)| *file == name.as_str()) {
        Some((_, file)) => file.answer(&request),
        None => reply::not_found(&request),
    }
}
