//! `GET /`: the page in the browser, and the files that it is made of (`src/page/`). No key is needed to see them;
//! all that the page does, it does with the key of whoever signs in, by the API that everybody uses.

use std::sync::LazyLock;

use actix_web::HttpMessage;
use actix_web::http::header::{self, EntityTag, IfNoneMatch};
use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use sha2::{Digest, Sha256};

use super::reply;

/// Nothing but our own files, no inline script or style, no `eval`, no other origin: what a model says cannot become
/// part of the program.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; media-src 'self' blob:; font-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// Below this the files are found.
pub const FILES_AT: &str = "/page/";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
    /// Changes with the text.
    tag: EntityTag,
}

macro_rules! files {
    ($($name:literal: $content_type:ident,)*) => {
        /// All files there are.
        static FILES: LazyLock<Vec<File>> = LazyLock::new(|| vec![
            $(File::new($name, $content_type, include_str!(concat!("../page/", $name))),)*
        ]);
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
    "list.js": SCRIPT,
    "page.js": SCRIPT,
    "recorder.js": SCRIPT,
    "run.js": SCRIPT,
    "session.js": SCRIPT,
    "stream.js": SCRIPT,
    "task.js": SCRIPT,
    "theme.js": SCRIPT,
    "waveform.js": SCRIPT,
}

impl File {
    fn new(name: &'static str, content_type: &'static str, text: &'static str) -> Self {
        let hash: String = Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { name, content_type, text, tag: EntityTag::new_strong(hash) }
    }

    fn find(name: &str) -> Option<&'static Self> {
        FILES.iter().find(|file| file.name == name)
    }

    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        let is_known = match request.get_header::<IfNoneMatch>() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            None => false,
        };
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        protect(&mut response)
            .insert_header(header::ETag(self.tag.clone()))
            // Kept, and asked for again each time: a new version of the program brings a new page.
            .insert_header((header::CACHE_CONTROL, "no-cache"));
        if is_known {
            return response.finish();
        }
        response.content_type(self.content_type).body(Bytes::from_static(self.text.as_bytes()))
    }
}

fn protect(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("Permissions-Policy", "microphone=(self)"))
}

/// Handles `GET /`.
pub async fn index(request: HttpRequest) -> HttpResponse {
    serve("index.html", request).await
}

/// Handles `GET /page/{file}`.
pub async fn file(request: HttpRequest, name: Path<String>) -> HttpResponse {
    serve(&name, request).await
}

async fn serve(name: &str, request: HttpRequest) -> HttpResponse {
    match File::find(name) {
        Some(file) => file.respond(&request),
        None => reply::not_found(request).await,
    }
}
