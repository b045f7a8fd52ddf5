//! Handles a call in any dialect: reads its script, waits for its delay, and answers it, refuses it or leaves it
//! without an answer.

use std::future::pending;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use actix::Addr;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse};

use super::acts::{Acts, DialectWriter};
use super::body::Playback;
use super::ledger::{CountedCall, DecideFault, Ledger};
use super::script::{Dialect, ErrorForm, Fault, Instead, Mishap, Script, Shape};
use super::zipped::Zipped;

/// The page of a proxy that has lost its upstream.
const PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// Why a call gets an error in place of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// The script sets this status and this retry hint.
    Status(u16, Option<Duration>),
    /// The quota is used up.
    Daily,
    /// The key is not the accepted one.
    WrongKey,
    /// The caller's region is not served.
    Region,
    /// The request has no key.
    NoKey,
    /// The content filter rejects the prompt.
    Blocked,
    /// The body is too large.
    TooLarge,
    /// The request is invalid.
    Invalid(String),
}

/// A dialect's errors.
pub(super) trait DialectErrors {
    /// Returns the dialect.
    fn dialect(&self) -> Dialect;
    /// Returns the response for a refused call.
    fn refuse(&self, refusal: &Refusal, model: &str) -> HttpResponse;
}

/// The call that an answer is for.
#[derive(Debug)]
pub(super) struct CallInfo<'a> {
    /// The model's name, without the script.
    pub(super) model: &'a str,
    /// The call's number among all calls, in a fixed width, so that the same script has the same bytes.
    pub(super) number: String,
    pub(super) shape: &'a Shape,
}

/// The connection of a request, as a second handle beside the server's, to close it without a response.
#[derive(Debug)]
pub(super) struct Connection(pub(super) TcpStream);

/// The state that every call needs.
#[derive(Debug, Clone)]
pub(super) struct ScriptRunner {
    pub(super) ledger: Addr<Ledger>,
    /// The script of calls whose model name has none.
    pub(super) usual: Option<Script>,
}

/// Refuses a call that cannot be answered.
pub(super) fn refuse(
    call: CountedCall,
    errors: &impl DialectErrors,
    refusal: &Refusal,
    model: &str,
) -> HttpResponse {
    call.refused();
    errors.refuse(refusal, model)
}

impl ScriptRunner {
    /// Answers a valid request by the script of its model.
    pub(super) async fn play(
        &self,
        request: &HttpRequest,
        mut call: CountedCall,
        errors: &impl DialectErrors,
        model: &str,
        writer: impl FnOnce(&CallInfo<'_>) -> Box<dyn DialectWriter>,
    ) -> HttpResponse {
        let invalid = |call, problem: &dyn ToString| {
            refuse(
                call,
                errors,
                &Refusal::Invalid(format!("hearken fake-upstream: {}", problem.to_string())),
                model,
            )
        };
        let (name, script) = match Script::of_model(model) {
            Ok((name, script)) => (name, script.or_else(|| self.usual.clone()).unwrap_or_default()),
            Err(err) => return invalid(call, &err),
        };
        if let Err(err) = script.fits(errors.dialect()) {
            return invalid(call, &err);
        }
        let decide_fault = DecideFault { model: model.to_owned(), fault_rule: script.fault_rule.clone() };
        let decision = match self.ledger.send(decide_fault).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(err)) => return invalid(call, &err),
            Err(err) => return invalid(call, &err),
        };
        if decision.faulty {
            call.is_faulty();
        }
        if !script.shape.delay.is_zero() {
            tokio::time::sleep(script.shape.delay).await;
        }
        let fault =
            script.fault_rule.as_ref().filter(|_| decision.faulty).map(|fault_rule| &fault_rule.fault);
        let writer = writer(&CallInfo {
            model: name,
            number: format!("{:010}", decision.number),
            shape: &script.shape,
        });
        match fault {
            Some(Fault::Instead(instead)) => {
                instead_of_an_answer(*instead, request, call, errors, name, &*writer).await
            }
            Some(Fault::Within { mishap: Mishap::Error(form), .. }) if !writer.is_stream() => {
                error_in_place_of_a_whole_answer(*form, call, writer)
            }
            Some(Fault::Within { .. }) | None => {
                let content_type = writer.content_type();
                let Shape { pause, split, gzip, .. } = script.shape;
                let acts = Acts::new(writer, &script, decision.faulty);
                let playback = Playback::new(acts, call, pause, split);
                let mut response = HttpResponse::Ok();
                response.insert_header((header::CONTENT_TYPE, content_type));
                if gzip {
                    response.insert_header((header::CONTENT_ENCODING, "gzip")).body(Zipped::new(playback))
                } else {
                    response.body(playback)
                }
            }
        }
    }
}

async fn instead_of_an_answer(
    instead: Instead,
    request: &HttpRequest,
    mut call: CountedCall,
    errors: &impl DialectErrors,
    model: &str,
    writer: &dyn DialectWriter,
) -> HttpResponse {
    let refusal = match instead {
        Instead::Status(status, hint) => Refusal::Status(status, hint),
        Instead::Daily => Refusal::Daily,
        Instead::BadKey => Refusal::WrongKey,
        Instead::Region => Refusal::Region,
        Instead::Blocked => Refusal::Blocked,
        Instead::Silent => return pending().await,
        Instead::Slam => {
            call.ended();
            return slam(request).await;
        }
        Instead::Page => {
            call.ended();
            return HttpResponse::Ok().content_type(ContentType::html()).body(PAGE);
        }
        Instead::Empty => {
            call.ended();
            return HttpResponse::Ok().insert_header((header::CONTENT_TYPE, writer.content_type())).finish();
        }
    };
    call.ended();
    errors.refuse(&refusal, model)
}

/// Closes the connection. The server notices that, and drops the call.
async fn slam(request: &HttpRequest) -> HttpResponse {
    let closed = request.conn_data::<Connection>().map(|connection| connection.0.shutdown(Shutdown::Both));
    match closed {
        Some(Ok(())) => pending().await,
        Some(Err(_)) | None => HttpResponse::InternalServerError()
            .body("hearken fake-upstream: the connection cannot be closed; raise the limit of open files\n"),
    }
}

/// Answers as some gateways do: with status 200, and only the error.
fn error_in_place_of_a_whole_answer(
    form: ErrorForm,
    mut call: CountedCall,
    mut writer: Box<dyn DialectWriter>,
) -> HttpResponse {
    call.ended();
    let content_type = writer.content_type();
    let error = writer.error(form);
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .body(format!("{{{}}}", error.trim_start_matches(',')))
}
