//! `GET /openapi.json`: the OpenAPI document, made from the URL table, the wire types and the constants that validate
//! requests.
//!
//! Each path has its description in the [table](super::routes), beside its handlers, so no path can lack one. The types
//! of [`wire`](crate::wire) derive their schemas. The descriptions are in files of their own, because as attributes
//! they would make the handlers hard to read.

mod examples;
pub(super) mod generations;
pub(super) mod models;
mod parts;
pub(super) mod service;
pub(super) mod tasks;

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::path::PathsBuilder;
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Schema, Server};
use utoipa::{PartialSchema, ToSchema};

use super::ENDPOINTS;
use super::health::Health;
use super::static_content::StaticContent;
use crate::audio::Container;
use crate::channel::{Capability, Channels, LOCAL_MODEL};
use crate::error::ErrorCode;
use crate::task::Timeline;
use crate::wire::completion::{ChatCompletion, Chunk};
use crate::wire::error::{HttpError, TaskError};
use crate::wire::task::{List, Model, ModelCapabilities, RequestObject, TaskList, TaskObject};

/// The name of the security scheme for API keys.
const API_KEY: &str = "apiKey";

/// The groups of operations.
#[derive(Debug, Clone, Copy)]
enum Tag {
    Generations,
    Tasks,
    Models,
    Service,
}

impl Tag {
    const ALL: [Self; 4] = [Self::Generations, Self::Tasks, Self::Models, Self::Service];

    const fn name(self) -> &'static str {
        match self {
            Self::Generations => "Generations",
            Self::Tasks => "Tasks",
            Self::Models => "Models",
            Self::Service => "Service",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Generations => "Submit audio, and read the answer while it is made.",
            Self::Tasks => "Query, list and cancel tasks.",
            Self::Models => "The models that your key may use.",
            Self::Service => {
                "The server itself: health checks, metrics and its own description. No key is needed."
            }
        }
    }
}

/// The document as it is served.
#[derive(Debug, Clone)]
pub struct OpenApiDocument(StaticContent);

impl OpenApiDocument {
    /// Creates the document. Its examples use a model of these channels, so that a reader can try them.
    /// # Errors
    /// Errors of serde_json, none of which can occur for this document.
    pub fn new(channels: &Channels) -> serde_json::Result<Self> {
        let (model, channel) = example_model(channels).unwrap_or(("gemini-2.5-pro", "gemini"));
        let text = document().to_json()?.replace(examples::MODEL, model).replace(examples::CHANNEL, channel);
        Ok(Self(StaticContent::new("application/json", text)))
    }
}

/// Returns a model that accepts audio, and its channel. Prefers the embedded channel, because its calls cost nothing.
fn example_model(channels: &Channels) -> Option<(&str, &str)> {
    // Names that need no escaping in JSON, nor in JSON within JSON.
    let is_plain =
        |name: &str| !name.contains(|letter: char| letter.is_control() || "\"\\{}".contains(letter));
    let models = channels.listed_models().into_iter().map(|(model, channel)| (model, &**channel));
    let usable = models.filter(|(model, channel)| {
        channel.capabilities.contains(&Capability::Audio)
            && channel.formats.contains(&Container::Wav)
            && is_plain(model)
            && is_plain(&channel.name)
    });
    let (model, channel) = usable.min_by_key(|(model, _)| *model != LOCAL_MODEL)?;
    Some((model, &channel.name))
}

/// Handles `GET /openapi.json`.
pub(super) async fn serve(request: HttpRequest, published: web::Data<OpenApiDocument>) -> HttpResponse {
    published.0.answer(&request)
}

/// Creates the document.
fn document() -> OpenApi {
    let paths = ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint.path, endpoint.description?())));
    let paths = paths.fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let license = LicenseBuilder::new().name("Apache-2.0 OR MIT").identifier(Some(env!("CARGO_PKG_LICENSE")));
    let info = InfoBuilder::new()
        .title("hearken")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(format!("{}{}", guide(), table_of_codes())))
        .license(Some(license.build()));
    let tags =
        Tag::ALL.map(|tag| TagBuilder::new().name(tag.name()).description(Some(tag.description())).build());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some(tags))
        .paths(paths)
        .security(Some([SecurityRequirement::new(API_KEY, [""; 0])]))
        .components(Some(components().build()))
        .build()
}

/// Returns the guide. Its commands work when they are pasted.
fn guide() -> String {
    include_str!("openapi/guide.md").replace("{audio}", examples::AUDIO)
}

fn components() -> ComponentsBuilder {
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("sk-...")
        .description(Some("An API key, created by `hearken keys create` or in the configuration."))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme(API_KEY, SecurityScheme::Http(key))
        .schemas_from_iter(derived())
        .schema("ModelCapabilitiesList", List::<ModelCapabilities<'_>>::schema())
        .schema("ModelList", List::<Model<'_>>::schema())
        .schema("SubmitRequest", generations::submit_request())
        .schema("StreamFrame", generations::frame())
        .schema("FailedTask", generations::failed_task())
        .schema("TaskList", TaskList::<tasks::Details>::schema())
        .schema("TaskDetails", tasks::Details::schema())
        .schema("TaskRequest", RequestObject::<'_, tasks::Audio>::schema())
        .schema("TaskAudio", tasks::Audio::schema());
    let components = parts::shared_headers()
        .into_iter()
        .fold(components, |components, (name, header)| components.header(name, header));
    parts::shared_parameters()
        .into_iter()
        .fold(components, |components, (name, parameter)| components.parameter(name, parameter))
}

/// Returns the schemas of the wire types, and of the types within them.
fn derived() -> Vec<(String, RefOr<Schema>)> {
    fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    let mut all = Vec::new();
    add::<TaskObject<'_>>(&mut all);
    add::<Timeline>(&mut all);
    add::<ChatCompletion<'_>>(&mut all);
    add::<Chunk<'_>>(&mut all);
    add::<HttpError<'_>>(&mut all);
    add::<TaskError<'_>>(&mut all);
    add::<Health>(&mut all);
    add::<ModelCapabilities<'_>>(&mut all);
    add::<Model<'_>>(&mut all);
    all
}

/// Returns a table of all codes with their meaning, in the order of the table in [`error`](crate::error).
fn table_of_codes() -> String {
    let rows = ErrorCode::ALL.iter().map(|code| {
        format!("| {} | `{}` | `{}` | {} |\n", code.status(), code.kind(), code.as_str(), code.meaning())
    });
    let rows: String = rows.collect();
    format!(
        "<details><summary>All codes</summary>\n\n\
         | HTTP | `type` | `code` | meaning |\n|---|---|---|---|\n{rows}\n</details>\n"
    )
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use serde_json::{Value, json};

    use super::*;
    use crate::audio::Gate;
    use crate::task::{Status, Submission};

    fn schemas() -> Value {
        serde_json::to_value(document()).unwrap()["components"]["schemas"].clone()
    }

    fn is_accepted(field: &str, value: Value) -> bool {
        let mut body = examples::inline_submit();
        body[field] = value;
        Submission::parse(BytesMut::from(body.to_string().as_str()), &Gate::default()).is_ok()
    }

    #[test]
    fn submits_are_validated_as_the_document_describes() {
        let fields = schemas()["SubmitRequest"]["properties"].clone();
        for (name, field) in fields.as_object().unwrap() {
            let types = field["type"].as_array().cloned().unwrap_or_else(|| vec![field["type"].clone()]);
            assert_eq!(is_accepted(name, Value::Null), types.contains(&json!("null")), "{name}");
            // An unknown field would be ignored and so accepted.
            assert!(!is_accepted(name, json!({})), "{name}");
            if let Some(most) = field["maxLength"].as_u64() {
                let text = |length| json!("é".repeat(length as usize));
                assert!(is_accepted(name, text(most)) && !is_accepted(name, text(most + 1)), "{name}");
            }
            if let Some(least) = field["minLength"].as_u64() {
                assert!(least == 1 && !is_accepted(name, json!("")), "{name}");
            }
            if let Some(least) = field["minimum"].as_i64() {
                assert!(is_accepted(name, json!(least)) && !is_accepted(name, json!(least - 1)), "{name}");
            }
            if let Some(most) = field["maximum"].as_u64() {
                let beyond = json!(most as f64 * 1.01);
                assert!(is_accepted(name, json!(most)) && !is_accepted(name, beyond), "{name}");
            }
        }
        let body: Vec<_> = fields.as_object().unwrap().keys().collect();
        assert_eq!(body.len(), 9, "{body:?}");
    }

    #[test]
    fn the_examples_are_valid_submits() {
        for example in [examples::submit(), examples::inline_submit()] {
            let body = BytesMut::from(example.to_string().as_str());
            assert!(Submission::parse(body, &Gate::default()).is_ok(), "{example}");
        }
    }

    #[test]
    fn the_documents_words_are_those_of_the_types() {
        let schemas = schemas();
        let words = |place: &Value| -> Vec<String> { serde_json::from_value(place["enum"].clone()).unwrap() };
        assert_eq!(words(&schemas["Task"]["properties"]["status"]), Status::ALL.map(Status::as_str));
        assert_eq!(
            words(&schemas["ErrorCode"]),
            ErrorCode::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>()
        );
        use Capability::{Audio, File, Text, Video, Vision};
        let capabilities = &schemas["ModelCapabilities"]["properties"]["capabilities"]["items"];
        assert_eq!(words(capabilities), [Text, Vision, Video, Audio, File].map(Capability::as_str));
    }
}
