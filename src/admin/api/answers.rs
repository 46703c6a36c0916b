//! Answers that are not made by [`axum::Json`]: text that is JSON already, and raw bytes.

use std::{borrow::Cow, marker::PhantomData};

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{operation::Answer, schemas::Schemas};

/// An answer from text that is JSON already. Its schema is that of `T`.
pub(super) struct JsonText<T> {
    text: Cow<'static, str>,
    form: PhantomData<T>,
}

impl<T> JsonText<T> {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), form: PhantomData }
    }
}

impl<T> IntoResponse for JsonText<T> {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.text).into_response()
    }
}

impl<T: JsonSchema> Answer for JsonText<T> {
    fn describe(schemas: &mut Schemas) -> Value {
        schemas.json_answer::<T>()
    }
}

/// Raw bytes, with a content type that no browser renders.
pub(super) struct Octets(pub(super) Vec<u8>);

impl Octets {
    pub(super) const MEDIA_TYPE: &str = "application/octet-stream";
}

impl IntoResponse for Octets {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, Self::MEDIA_TYPE)], self.0).into_response()
    }
}

impl Answer for Octets {
    fn describe(_schemas: &mut Schemas) -> Value {
        json!({"description": "The bytes.", "content": {Self::MEDIA_TYPE: {}}})
    }
}
