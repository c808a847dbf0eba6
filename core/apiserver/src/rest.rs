//! The REST face: from a request to a verb on a resource.

mod accept;
pub(crate) mod body;
pub(crate) mod convert;
pub(crate) mod delete;
mod discovery;
mod edit;
mod impersonate;
mod intake;
mod openapi;
mod openapi_v2;
mod options;
mod plain;
mod pool;
mod protobuf;
mod read;
mod request;
mod review;
pub(crate) mod rules;
pub(crate) mod selector;
pub(crate) mod status;
mod table;
mod validity;
mod watch;
mod write;
mod yaml;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::identity::{Attributes, Authorizer, User};
use crate::path::begin;
use crate::registry::{Class, Registry, Resource};
use accept::Output;
use intake::{Hold, Intake};
use longshore_objects::{Key, Log, Record, Write, WriteError};
use longshore_process::tasks::blocking;
use pool::Pool;
use request::{Params, ResourcePath, Target};
use status::ApiError;
pub(crate) use write::uid;

/// The Kubernetes version whose API this is.
const VERSION: &str = "v1.33.0+longshore";
/// Characters of one warning, and of all of an answer, as with the real server: they
/// are headers, of which clients take no more.
const WARNING: usize = 256;
const WARNINGS: usize = 4096;
/// Why there is no pod here.
const NO_PODS: &str = "pods are forbidden: this API server is Longshore's own: it knows nodes and devices and runs no pods yet. For pods, \
                       let the hub use a Kubernetes cluster (`kubernetes:` in its configuration)";
/// Queues for writers of one object; different objects rarely share one.
const TURNS: usize = 32;

/// What all requests share.
pub(crate) struct Api {
    pub(crate) store: Log,
    registry: RwLock<Arc<Registry>>,
    /// Held while a definition is written, so that the registry follows the
    /// store in order.
    definitions: tokio::sync::Mutex<()>,
    authorizer: Arc<dyn Authorizer>,
    /// Writers that met another one queue here, by the hash of the key, so that
    /// each gets its turn.
    turns: [tokio::sync::Mutex<()>; TURNS],
    pub(crate) stopping: CancellationToken,
    /// Where large work is done.
    pub(crate) pool: Pool,
    intake: Intake,
    /// Wakes the controllers.
    pub(crate) wake: Notify,
    /// Objects whose deletion waits for their dependents.
    pub(crate) foreground: Mutex<BTreeSet<(String, String, String)>>,
}

impl Api {
    pub(crate) fn new(store: Log, registry: Registry, authorizer: Arc<dyn Authorizer>) -> Api {
        let stopping = CancellationToken::new();
        Api {
            store,
            registry: RwLock::new(Arc::new(registry)),
            definitions: tokio::sync::Mutex::default(),
            authorizer,
            turns: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            pool: Pool::new(stopping.clone()),
            intake: Intake::default(),
            stopping,
            wake: Notify::new(),
            foreground: Mutex::default(),
        }
    }

    /// Waits until no other writer of `key` that was refused once is under way.
    pub(crate) async fn turn(&self, key: &Key) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.turns[hasher.finish() as usize % TURNS].lock().await
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes, and lets the registry follow when it was a definition.
    pub(crate) async fn commit(
        &self,
        resource: &Resource,
        write: Write,
    ) -> Result<Record, WriteError> {
        if resource.class != Class::Definition {
            return self.store.write(write).await;
        }
        let _guard = self.definitions.lock().await;
        let before = self.registry();
        let mut next = Registry::clone(&before);
        if !write.delete {
            let record = self.store.write(write).await?;
            let defined = record.clone();
            let next = blocking("reading a definition", move || {
                next.define(&defined.object());
                next
            });
            // A panic of it has been told; the resource is then served as before.
            if let Ok(next) = next.await {
                self.serve(Arc::new(next));
            }
            return Ok(record);
        }
        // Whoever sees that the definition is gone must not find its resource.
        next.forget(&write.key.name);
        self.serve(Arc::new(next));
        let result = self.store.write(write).await;
        if result.is_err() {
            self.serve(before);
        }
        result
    }

    fn serve(&self, registry: Arc<Registry>) {
        *self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner) = registry;
    }
}

/// A request for a resource, taken apart.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) resource: Arc<Resource>,
    /// `None` for all namespaces and for resources of the cluster.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) params: Params,
    pub(crate) output: Output,
    pub(crate) headers: http::HeaderMap,
}

impl Call {
    pub(crate) fn key(&self, name: &str) -> Key {
        Key {
            resource: self.resource.storage.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        }
    }

    /// Whether nothing is to be stored. Other values were refused before.
    pub(crate) fn dry_run(&self) -> bool {
        self.params.get("dryRun").is_some()
    }

    /// One object as the answer, in the form that was asked for.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        code: StatusCode,
        object: Stored,
        warnings: &[String],
    ) -> Response {
        let as_it_is = self.output == Output::Object && convert::is_stored_form(&self.resource);
        let text = match object {
            Stored::Text(json) if as_it_is => Ok(json),
            Stored::Text(json) => {
                let call = Arc::clone(self);
                let shown = self.api.pool.run(json.len(), move || {
                    let object = serde_json::from_slice(&json).unwrap_or_default();
                    call.shown(convert::present(&call.resource, object))
                });
                shown.await
            }
            Stored::Tree(object) => {
                let (call, size) = (Arc::clone(self), crate::size::of(&object));
                self.api.pool.run(size, move || call.shown(object)).await
            }
        };
        match text {
            Ok(text) => self.warned(status::json_text(code, text), warnings),
            Err(error) => error.into_response(),
        }
    }

    /// An object, in the form that was asked for.
    fn shown(&self, object: Value) -> Bytes {
        let body = match self.output {
            Output::Object => object,
            Output::Partial => table::partial(&object),
            Output::Table => table::build(&self.resource, vec![object], &self.params, Value::Null),
        };
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    fn warned(&self, mut response: Response, warnings: &[String]) -> Response {
        let deprecation = self.resource.deprecation.iter();
        let mut room = WARNINGS;
        for warning in warnings.iter().chain(deprecation) {
            let warning = begin(warning, WARNING);
            let Some(left) = room.checked_sub(warning.len()) else {
                break;
            };
            room = left;
            let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }
}

/// An object that goes into an answer.
pub(crate) enum Stored {
    /// As the client sees it.
    Tree(Value),
    /// As it is stored.
    Text(Bytes),
}

/// What the real server tells everybody (`system:public-info-viewer`), so that
/// probes need no credentials. Wrong ones are refused here too.
fn is_public(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    request.method() == http::Method::GET
        && matches!(path, "/healthz" | "/livez" | "/readyz" | "/version")
        && !request.headers().contains_key(http::header::AUTHORIZATION)
}

/// Answers one request of this process: as the user whom it names, or else `user`.
pub(crate) async fn handle(api: Arc<Api>, user: User, request: Request<Body>) -> Response {
    let named = request.extensions().get::<User>().cloned();
    respond(api, named.unwrap_or(user), request, Hold::inside()).await
}

/// Answers one request from a socket; `user` is who showed that it is.
pub(crate) async fn handle_outside(
    api: Arc<Api>,
    user: Option<User>,
    request: Request<Body>,
) -> Response {
    let user = user.or_else(|| is_public(&request).then(User::anonymous));
    let Some(user) = user else {
        return ApiError::unauthorized().into_response();
    };
    let hold = api.intake.hold(&user.name);
    respond(api, user, request, hold).await
}

async fn respond(api: Arc<Api>, user: User, request: Request<Body>, hold: Hold) -> Response {
    let in_yaml = yaml::is_wanted(request.uri().path(), request.headers());
    let answer = route(Arc::clone(&api), user, request, hold).await;
    let response = answer.unwrap_or_else(IntoResponse::into_response);
    if in_yaml {
        return yaml::answer(&api, response).await;
    }
    response
}

async fn route(
    api: Arc<Api>,
    user: User,
    request: Request<Body>,
    mut hold: Hold,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let user = impersonate::acting(&api, user, &parts.headers)?;
    let target = Target::parse(parts.uri.path()).ok_or_else(ApiError::no_such_path)?;
    let params = Params::parse(parts.uri.query().unwrap_or_default());
    let path = match target {
        Target::Resource(path) => path,
        other => {
            let attributes = Attributes {
                verb: parts.method.as_str().to_lowercase(),
                path: parts.uri.path().to_owned(),
                ..Attributes::default()
            };
            authorize(&api, &user, &attributes)?;
            if !matches!(parts.method, Method::GET | Method::HEAD) {
                return Err(ApiError::method_not_allowed());
            }
            return match other {
                Target::Plain(path) => plain::answer(&api, &path, &params, &parts.headers).await,
                other => discovery::answer(&api.registry(), &other, &parts.headers),
            };
        }
    };
    let verb = verb(&parts.method, &path, &params)?;
    let attributes = Attributes {
        verb: verb.to_owned(),
        group: path.group.clone(),
        resource: path.plural.clone(),
        subresource: path.subresource.clone(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        path: parts.uri.path().to_owned(),
    };
    authorize(&api, &user, &attributes)?;
    if let Some(kind) = review::kind(&path) {
        if verb != "create" {
            return Err(ApiError::method_not_allowed());
        }
        let bytes = body::read(body, &mut hold).await?;
        let headers = parts.headers;
        let decoded = api.pool.run(bytes.len(), move || {
            let given = body::decode(&headers, &bytes)?;
            review::read(kind, given.value)
        });
        let given = decoded.await??;
        return Ok(review::answer(&api, &user, kind, given));
    }
    let call = Arc::new(call(api, path, params, parts.headers)?);
    dispatch(call, verb, body, hold).await
}

fn verb(method: &Method, path: &ResourcePath, params: &Params) -> Result<&'static str, ApiError> {
    Ok(match (method.as_str(), &path.name) {
        ("GET" | "HEAD", None) if params.flag("watch") => "watch",
        ("GET" | "HEAD", None) => "list",
        ("GET" | "HEAD", Some(_)) if params.flag("watch") => "watch",
        ("GET" | "HEAD", Some(_)) => "get",
        ("POST", _) => "create",
        ("PUT", Some(_)) => "update",
        ("PATCH", Some(_)) => "patch",
        ("DELETE", Some(_)) => "delete",
        ("DELETE", None) => "deletecollection",
        _ => return Err(ApiError::method_not_allowed()),
    })
}

fn call(
    api: Arc<Api>,
    path: ResourcePath,
    params: Params,
    headers: http::HeaderMap,
) -> Result<Call, ApiError> {
    let resource = api
        .registry()
        .find(&path.group, &path.version, &path.plural)
        .ok_or_else(ApiError::no_such_path)?;
    let one_without_namespace =
        resource.namespaced && path.namespace.is_none() && path.name.is_some();
    if (!resource.namespaced && path.namespace.is_some()) || one_without_namespace {
        return Err(ApiError::no_such_path());
    }
    match path.subresource.as_deref() {
        None => {}
        Some("status") if resource.status => {}
        Some("finalize") if resource.class == Class::Namespace => {}
        Some(_) => return Err(ApiError::no_such_path()),
    }
    let output = accept::negotiate(&headers, params.flag("watch"))?;
    Ok(Call {
        api,
        resource,
        namespace: path.namespace,
        name: path.name,
        subresource: path.subresource,
        params,
        output,
        headers,
    })
}

async fn dispatch(
    call: Arc<Call>,
    verb: &str,
    body: Body,
    mut hold: Hold,
) -> Result<Response, ApiError> {
    let namespace_missing = call.resource.namespaced && call.namespace.is_none();
    if call.resource.class == Class::Pod && verb == "create" {
        return Err(ApiError::new(403, "Forbidden", NO_PODS));
    }
    if !call.resource.verbs().contains(&verb) {
        return Err(ApiError::method_not_allowed());
    }
    let apply = body::content_type(&call.headers) == "application/apply-patch+yaml";
    options::check(verb, apply, &call.params)?;
    let hold = &mut hold;
    match verb {
        "get" => read::get(&call).await,
        "list" => read::list(&call).await,
        "watch" => watch::start(&call).await,
        "create" if call.name.is_some() || namespace_missing => Err(ApiError::method_not_allowed()),
        "create" => write::create(&call, body::read(body, hold).await?).await,
        "update" => write::update(&call, body::read(body, hold).await?).await,
        "patch" => write::patch(&call, body::read(body, hold).await?).await,
        "delete" if call.subresource.is_some() => Err(ApiError::method_not_allowed()),
        "delete" => delete::one(&call, body::read(body, hold).await?).await,
        _ if namespace_missing => Err(ApiError::method_not_allowed()),
        _ => delete::many(&call, body::read(body, hold).await?).await,
    }
}

fn authorize(api: &Api, user: &User, attributes: &Attributes) -> Result<(), ApiError> {
    if api.authorizer.allows(user, attributes) {
        return Ok(());
    }
    let Attributes {
        verb,
        group,
        resource,
        namespace,
        name,
        path,
        ..
    } = attributes;
    if resource.is_empty() {
        let text = format!(
            "forbidden: User {:?} cannot {verb} path {path:?}",
            user.name
        );
        return Err(ApiError::new(403, "Forbidden", text));
    }
    let full = if group.is_empty() {
        resource.clone()
    } else {
        format!("{resource}.{group}")
    };
    let subject = name
        .as_ref()
        .map_or(full.clone(), |name| format!("{full} {name:?}"));
    let scope = match namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let text = format!(
        "{subject} is forbidden: User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}",
        user.name
    );
    Err(ApiError::new(403, "Forbidden", text))
}

/// Whether `user` may do what a review asks about.
pub(crate) fn allowed(api: &Api, user: &User, attributes: &Attributes) -> bool {
    api.authorizer.allows(user, attributes)
}
