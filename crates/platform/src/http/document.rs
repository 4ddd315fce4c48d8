//! The part of the API document that is the same in all services.

use serde_json::{Value, json};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::security::{Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema,
    ServerBuilder,
};

use crate::http::example::add_examples;
use crate::platform::Platform;

/// The document with title, version, servers, security schemes, the errors that every operation may return, and examples.
pub(super) fn described(mut document: OpenApi, platform: &Platform) -> Value {
    let service = platform.service;
    document.info = InfoBuilder::new()
        .title(service.title)
        .version(&platform.config.version)
        .description(Some("Every path also exists under /api."))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    document.servers = Some(["/", "/api"].map(|url| ServerBuilder::new().url(url).build()).to_vec());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = document.components.take().unwrap_or_default();
    let mut components = ComponentsBuilder::from(components).security_scheme("bearer", SecurityScheme::Http(bearer));
    if service.password_flow {
        let flow = Flow::Password(Password::new("/auth/login", Scopes::new()));
        components = components.security_scheme("password", SecurityScheme::OAuth2(OAuth2::new([flow])));
    }
    document.components = Some(components.build());
    for operation in operations(&mut document) {
        // No requirement is stated as such.
        operation.security.get_or_insert_default();
        add_common_responses(operation);
    }
    let mut document = json!(document);
    describe_event_streams(&mut document);
    add_examples(&mut document);
    document
}

/// The data of an event of a stream is a text that contains JSON, which utoipa cannot say.
fn describe_event_streams(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut);
    let variants = schemas.filter_map(|schema| schema.get_mut("oneOf")?.as_array_mut()).flatten();
    for fields in variants.filter_map(|variant| variant.get_mut("properties")?.as_object_mut()) {
        if fields.contains_key("event")
            && let Some(data) = fields.get_mut("data")
        {
            *data = json!({"type": "string", "contentMediaType": "application/json", "contentSchema": data.take()});
            fields.insert("id".to_owned(), json!({"type": "string"}));
            fields.insert("retry".to_owned(), json!({"type": "integer", "description": "Milliseconds"}));
        }
    }
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        methods.into_iter().flatten()
    })
}

fn add_common_responses(operation: &mut Operation) {
    let can_be_invalid = reads_input(operation);
    let mut add = |status: &str, description: &str| {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| error_response(description));
    };
    add("503", "A dependency is unavailable; `Retry-After` has the seconds to wait");
    if operation.security.as_ref().is_some_and(|security| !security.is_empty()) {
        add("401", "No valid access token");
    }
    if operation.request_body.is_some() {
        add("413", "The body is too large");
        add("415", "The body has a content encoding");
    }
    if can_be_invalid {
        add("422", "The input is invalid");
    }
    for status in ["429", "503"] {
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
            let seconds = HeaderBuilder::new().schema(Some(Object::with_type(Type::Integer)));
            let seconds = seconds.description(Some("The seconds to wait")).build();
            response.headers.insert("Retry-After".to_owned(), seconds.into());
        }
    }
}

/// Whether an input can be invalid. A path parameter that is a plain text cannot; an unknown one is not found.
fn reads_input(operation: &Operation) -> bool {
    let text = SchemaType::Type(Type::String);
    let is_text = |schema: &RefOr<Schema>| matches!(schema, RefOr::T(Schema::Object(it)) if it.schema_type == text);
    let mut parameters = operation.parameters.iter().flatten();
    operation.request_body.is_some()
        || parameters.any(|parameter| match parameter {
            RefOr::T(Parameter { parameter_in: ParameterIn::Query, .. }) => true,
            RefOr::T(Parameter { parameter_in: ParameterIn::Path, schema: Some(schema), .. }) => !is_text(schema),
            _ => false,
        })
}

fn error_response(description: &str) -> RefOr<Response> {
    let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new().description(description).content("application/json", body).build().into()
}
