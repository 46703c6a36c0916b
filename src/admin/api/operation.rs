//! An operation: a route of the API, with its description in the OpenAPI document. The parameters, the request body and
//! the answer are described from the types in the signature of the function that serves the route.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    handler::Handler,
    response::IntoResponse,
    routing::{self, MethodRouter},
};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::{document, schemas::Schemas};
use crate::admin::{
    AdminState,
    error::RequestError,
    params::{JsonBody, Parameters, Segment, TakeParameters, UrlQuery},
};

/// The error statuses of every operation.
const EVERY: [u16; 7] = [400, 401, 405, 421, 429, 500, 503];
/// The further error statuses of an operation with a body.
const WITH_BODY: [u16; 4] = [403, 408, 413, 415];

/// A route of the API.
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    route: MethodRouter<Arc<AdminState>>,
    types: fn(&mut OperationTypes<'_>),
    id: &'static str,
    summary: &'static str,
    not_found: bool,
}

/// A route that reads.
pub(super) fn get<F, T, P>(path: &'static str, id: &'static str, function: F) -> Operation
where
    F: Handler<T, Arc<AdminState>> + RouteFunction<P>,
    T: 'static,
{
    let route = routing::get(function);
    Operation { method: "get", path, id, route, types: F::describe, summary: "", not_found: false }
}

/// A route that changes something.
pub(super) fn post<F, T, P>(path: &'static str, id: &'static str, function: F) -> Operation
where
    F: Handler<T, Arc<AdminState>> + RouteFunction<P>,
    T: 'static,
{
    let route = routing::post(function);
    Operation { method: "post", path, id, route, types: F::describe, summary: "", not_found: false }
}

impl Operation {
    /// Sets the summary, which describes the operation in one line.
    pub(super) fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Adds 404 to the answers. A path with a variable segment has 404 already.
    pub(super) fn or_not_found(self) -> Self {
        Self { not_found: true, ..self }
    }

    /// Adds the route to the router.
    pub(super) fn serve(self, router: Router<Arc<AdminState>>) -> Router<Arc<AdminState>> {
        router.route(self.path, self.route)
    }

    /// Adds the operation to the document's `paths`.
    pub(super) fn document(&self, tag: &str, paths: &mut Value, schemas: &mut Schemas) {
        let mut types = OperationTypes {
            path: self.path,
            parameters: Vec::new(),
            body: None,
            answer: Value::Null,
            statuses: EVERY.into(),
            schemas,
        };
        (self.types)(&mut types);
        let parameters = types.parameters.iter_mut().map(|parameter| &mut parameter["schema"]);
        parameters.filter_map(|schema| <&mut Schema>::try_from(schema).ok()).for_each(Schemas::tidy);
        types.statuses.extend(self.not_found.then_some(404));
        let statuses = document::PROBLEMS.iter().filter(|(status, ..)| types.statuses.contains(status));
        let mut responses: Map<String, Value> = statuses
            .map(|(status, name, _)| {
                (status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}))
            })
            .collect();
        responses.insert("200".to_owned(), types.answer);
        let mut operation = json!({
            "operationId": self.id,
            "tags": [tag],
            "summary": self.summary,
            "parameters": types.parameters,
            "responses": responses,
        });
        if let Some(body) = types.body {
            operation["requestBody"] = body;
        }
        paths[self.path][self.method] = operation;
    }
}

/// The part of an OpenAPI operation object that is made from the types of the route function.
pub(super) struct OperationTypes<'a> {
    path: &'static str,
    pub(super) parameters: Vec<Value>,
    body: Option<Value>,
    answer: Value,
    statuses: BTreeSet<u16>,
    schemas: &'a mut Schemas,
}

/// A function that serves a route. It takes the state, and the parts `P` of the request.
pub(super) trait RouteFunction<P> {
    /// Adds the descriptions of the parameters, of the request body and of the answer to `operation`.
    fn describe(operation: &mut OperationTypes<'_>);
}

impl<F, R, A, X> RouteFunction<(X,)> for F
where
    F: Fn(State<Arc<AdminState>>, X) -> R,
    R: Future<Output = Result<A, RequestError>>,
    A: Answer,
    X: RequestPart,
{
    fn describe(operation: &mut OperationTypes<'_>) {
        X::describe(operation);
        operation.answer = A::describe(operation.schemas);
    }
}

impl<F, R, A, X, Y> RouteFunction<(X, Y)> for F
where
    F: Fn(State<Arc<AdminState>>, X, Y) -> R,
    R: Future<Output = Result<A, RequestError>>,
    A: Answer,
    X: RequestPart,
    Y: RequestPart,
{
    fn describe(operation: &mut OperationTypes<'_>) {
        X::describe(operation);
        Y::describe(operation);
        operation.answer = A::describe(operation.schemas);
    }
}

/// A part of a request that a route function takes: a path segment, URL parameters, a header, or a body.
pub(super) trait RequestPart {
    fn describe(operation: &mut OperationTypes<'_>);
}

impl<T: JsonSchema> RequestPart for Segment<T> {
    fn describe(operation: &mut OperationTypes<'_>) {
        let name = operation.path.split(['{', '}']).nth(1).unwrap_or_default();
        let (description, example) = document::segment(name);
        let mut schema = operation.schemas.body::<T>();
        if schema.get("type").is_some_and(|kind| kind == "string") {
            schema.insert("minLength".to_owned(), 1.into());
        }
        operation.parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": description, "schema": schema,
            "example": example,
        }));
        operation.statuses.insert(404);
    }
}

impl<T: TakeParameters> RequestPart for Parameters<T> {
    fn describe(operation: &mut OperationTypes<'_>) {
        operation.parameters.extend(UrlQuery::descriptions_of::<T>());
    }
}

impl<T: JsonSchema> RequestPart for JsonBody<T> {
    fn describe(operation: &mut OperationTypes<'_>) {
        let content = json!({"application/json": {"schema": operation.schemas.body::<T>()}});
        operation.body = Some(json!({"required": true, "content": content}));
        operation.statuses.extend(WITH_BODY);
    }
}

/// An answer with status 200.
pub(super) trait Answer: IntoResponse {
    /// The response object of OpenAPI.
    fn describe(schemas: &mut Schemas) -> Value;
}

impl<T: JsonSchema> Answer for Json<T>
where
    Json<T>: IntoResponse,
{
    fn describe(schemas: &mut Schemas) -> Value {
        schemas.json_answer::<T>()
    }
}
