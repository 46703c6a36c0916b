//! The JSON Schemas of bodies and answers, made from their types.

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{RecursiveTransform, transform_subschemas},
};
use serde_json::{Map, Value, json};

/// Collects the schemas that the OpenAPI document refers to.
pub(super) struct Schemas {
    bodies: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
            .with_transform(RecursiveTransform(Self::tidy));
        let answers = settings.clone().for_serialize().with_transform(close);
        Self { bodies: settings.for_deserialize().into_generator(), answers: answers.into_generator() }
    }

    /// The schema of a body: a member with a default may be absent.
    pub(super) fn body<T: JsonSchema>(&mut self) -> Schema {
        self.bodies.subschema_for::<T>()
    }

    /// Joins the lines of a description into one paragraph. Limits a `u64` to the maximum of `i64`, because the journal
    /// stores it as an `i64`. Removes the format of a `usize`, because OpenAPI has no such format.
    pub(super) fn tidy(schema: &mut Schema) {
        if let Some(Value::String(description)) = schema.get_mut("description") {
            *description = description.replace('\n', " ");
        }
        match schema.get("format").and_then(Value::as_str) {
            Some("uint64") => schema.insert("maximum".to_owned(), i64::MAX.into()),
            Some("uint") => schema.remove("format"),
            _ => None,
        };
    }

    /// The response object of OpenAPI for a JSON answer. The description of the type becomes the description of the
    /// response. In the schema, each member that is always written is required.
    pub(super) fn json_answer<T: JsonSchema>(&mut self) -> Value {
        let mut described = T::json_schema(&mut self.answers);
        Self::tidy(&mut described);
        let content = json!({"application/json": {"schema": self.answers.subschema_for::<T>()}});
        json!({"description": described.get("description"), "content": content})
    }

    /// All named schemas. If a type is used in bodies and in answers, its schema for bodies is taken.
    pub(super) fn components(mut self) -> Map<String, Value> {
        let mut components = self.answers.take_definitions(true);
        components.extend(self.bodies.take_definitions(true));
        components
    }
}

/// Forbids members that the type of an object does not have. The test with schemathesis then finds answers that have
/// such members.
fn close(schema: &mut Schema) {
    transform_subschemas(&mut close, schema);
    if schema.get("properties").is_some() {
        // Each alternative in `oneOf` lists only a part of the members, so it must not forbid the others.
        for part in schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
            part.as_object_mut().and_then(|part| part.remove("unevaluatedProperties"));
        }
        schema.insert("unevaluatedProperties".to_owned(), false.into());
    }
}
