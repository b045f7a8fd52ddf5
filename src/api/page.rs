//! `GET /`: the page for browsers, and its files (`src/page/`). No key is needed to load them. The page uses only the
//! public API, with the key of the signed-in user.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::reply;
use super::static_content::StaticContent;

/// The policy that allows only the server's own files: no inline script or style, no `eval`, no other origin. So a text
/// of a model cannot run as a script.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; media-src 'self' blob:; font-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The path under which the files are served.
pub(super) const FILES_AT: &str = "/page/";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $content_type:ident,)*) => {
        /// All files, by name.
        static FILES: LazyLock<HashMap<&str, StaticContent>> = LazyLock::new(|| HashMap::from([
            $(($name, own($content_type, include_str!(concat!("../page/", $name)))),)*
        ]));
    };
}

files! {
    "index.html": HTML,
    "page.css": STYLE,
    "favicon.svg": SVG,
    "answer.js": SCRIPT,
    "api.js": SCRIPT,
    "audio.js": SCRIPT,
    "choice.js": SCRIPT,
    "code.js": SCRIPT,
    "compose.js": SCRIPT,
    "details.js": SCRIPT,
    "dom.js": SCRIPT,
    "errors.js": SCRIPT,
    "format.js": SCRIPT,
    "inline.js": SCRIPT,
    "list.js": SCRIPT,
    "markdown.js": SCRIPT,
    "page.js": SCRIPT,
    "recorder.js": SCRIPT,
    "run.js": SCRIPT,
    "session.js": SCRIPT,
    "stream.js": SCRIPT,
    "submit.js": SCRIPT,
    "task.js": SCRIPT,
    "theme.js": SCRIPT,
    "wait.js": SCRIPT,
    "waveform.js": SCRIPT,
}

fn own(content_type: &'static str, text: &'static str) -> StaticContent {
    StaticContent::new(content_type, Bytes::from_static(text.as_bytes()))
        .with(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)
        .with(header::REFERRER_POLICY, "no-referrer")
        .with(header::PERMISSIONS_POLICY, "microphone=(self)")
}

/// Handles `GET /`.
pub(super) async fn index(request: HttpRequest) -> HttpResponse {
    serve("index.html", &request)
}

/// Handles `GET /page/{file}`.
pub(super) async fn file(request: HttpRequest, name: Path<String>) -> HttpResponse {
    serve(&name, &request)
}

fn serve(name: &str, request: &HttpRequest) -> HttpResponse {
    match FILES.get(name) {
        Some(file) => file.answer(request),
        None => reply::not_found(request),
    }
}
