//! The course of a call, whatever its dialect: its script is judged, its time is let pass, and it is answered,
//! refused or left alone.

use std::future::pending;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use actix::Addr;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse};

use super::body::Playback;
use super::ledger::{Call, Judge, Ledger};
use super::score::{Score, Voice};
use super::script::{Dialect, ErrorForm, Fault, Instead, Mishap, Script, Shape};
use super::zipped::Zipped;

/// What a proxy says when it has lost its upstream.
const PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// Why a call gets an error in place of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// The script wants this status, and this hint when to come back.
    Status(u16, Option<Duration>),
    /// The quota is used up.
    Daily,
    /// The key is not the one.
    WrongKey,
    /// The region that the call comes from is not served.
    Region,
    /// There is no key.
    NoKey,
    /// The prompt does not pass the content filter.
    Blocked,
    /// The body is too large.
    TooLarge,
    /// Something is wrong with the request.
    Invalid(String),
}

/// How a dialect says no.
pub(super) trait Manner {
    /// The dialect.
    fn dialect(&self) -> Dialect;
    /// The response for a call that is refused.
    fn refuse(&self, refusal: &Refusal, model: &str) -> HttpResponse;
}

/// For whom an answer is.
#[derive(Debug)]
pub(super) struct Occasion<'a> {
    /// The model, without the script.
    pub(super) model: &'a str,
    /// The call's number among all, always as long: the same script has the same bytes.
    pub(super) number: String,
    pub(super) shape: &'a Shape,
}

/// The connection that a request came on, beside the one that the server holds: to close it without a word.
#[derive(Debug)]
pub(super) struct Connection(pub(super) TcpStream);

/// What every call needs.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) ledger: Addr<Ledger>,
    /// The script of calls whose model carries none.
    pub(super) usual: Option<Script>,
}

/// Refuses a call that cannot be answered.
pub(super) fn refuse(call: Call, manner: &impl Manner, refusal: &Refusal, model: &str) -> HttpResponse {
    call.refused();
    manner.refuse(refusal, model)
}

impl Stage {
    /// Answers a request that is right, as the script of its model wants it.
    pub(super) async fn play(
        &self,
        request: &HttpRequest,
        mut call: Call,
        manner: &impl Manner,
        model: &str,
        voice: impl FnOnce(&Occasion<'_>) -> Box<dyn Voice>,
    ) -> HttpResponse {
        let invalid = |call, problem: &dyn ToString| {
            refuse(
                call,
                manner,
                &Refusal::Invalid(format!("hearken fake-upstream: {}", problem.to_string())),
                model,
            )
        };
        let (name, script) = match Script::of_model(model) {
            Ok((name, script)) => (name, script.or_else(|| self.usual.clone()).unwrap_or_default()),
            Err(err) => return invalid(call, &err),
        };
        if let Err(err) = script.fits(manner.dialect()) {
            return invalid(call, &err);
        }
        let judge = Judge { model: model.to_owned(), trouble: script.trouble.clone() };
        let verdict = match self.ledger.send(judge).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(err)) => return invalid(call, &err),
            Err(err) => return invalid(call, &err),
        };
        if verdict.faulty {
            call.is_faulty();
        }
        if !script.shape.delay.is_zero() {
            tokio::time::sleep(script.shape.delay).await;
        }
        let fault = script.trouble.as_ref().filter(|_| verdict.faulty).map(|trouble| &trouble.fault);
        let voice =
            voice(&Occasion { model: name, number: format!("{:010}", verdict.number), shape: &script.shape });
        match fault {
            Some(Fault::Instead(instead)) => {
                instead_of_an_answer(*instead, request, call, manner, name, &*voice).await
            }
            Some(Fault::Within { mishap: Mishap::Error(form), .. }) if !voice.is_stream() => {
                error_in_place_of_a_whole_answer(*form, call, voice)
            }
            Some(Fault::Within { .. }) | None => {
                let content_type = voice.content_type();
                let Shape { pause, split, gzip, .. } = script.shape;
                let score = Score::new(voice, &script, verdict.faulty);
                let playback = Playback::new(score, call, pause, split);
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
    mut call: Call,
    manner: &impl Manner,
    model: &str,
    voice: &dyn Voice,
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
            return HttpResponse::Ok().insert_header((header::CONTENT_TYPE, voice.content_type())).finish();
        }
    };
    call.ended();
    manner.refuse(&refusal, model)
}

/// Closes the connection. The server sees that, and drops the call.
async fn slam(request: &HttpRequest) -> HttpResponse {
    let closed = request.conn_data::<Connection>().map(|connection| connection.0.shutdown(Shutdown::Both));
    match closed {
        Some(Ok(())) => pending().await,
        Some(Err(_)) | None => HttpResponse::InternalServerError().body(
            "hearken fake-upstream: the connection cannot be closed: are there file descriptors left?\n",
        ),
    }
}

/// As some gateways answer: with status 200, and the error alone.
fn error_in_place_of_a_whole_answer(
    form: ErrorForm,
    mut call: Call,
    mut voice: Box<dyn Voice>,
) -> HttpResponse {
    call.ended();
    let content_type = voice.content_type();
    let error = voice.error(form);
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .body(format!("{{{}}}", error.trim_start_matches(',')))
}
