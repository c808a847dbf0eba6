//! A small Kubernetes API over one SQLite file, as a library.
//!
//! The hub embeds it where there is no cluster, the edge embeds it as the
//! local, offline API. It is not a fork of the real server and shares no code
//! with it; it answers the same requests with the same words, so that kubectl,
//! `kube::Client` and every controller written for Kubernetes work unchanged.
//!
//! # Why this shape
//!
//! This is the REST face of `longshore_objects`: one log numbers every change of
//! every resource, and that number is the `resourceVersion`.
//! Resources are data: the built-in ones come from a table, the others from
//! CustomResourceDefinition objects in the store itself. One structural schema
//! per resource serves validation, pruning, defaulting, strategic and
//! server-side apply, and the OpenAPI documents.
//!
//! # Guarantees
//!
//! - A write that was answered is in the database file; a write that failed
//!   left nothing behind.
//! - Revisions only grow, across restarts too. A watch sees each change once,
//!   in order, or is told in the stream that its revision has expired.
//! - Memory for watchers and the history on the disk are bounded by number, bytes and
//!   age ([`Storage`]).
//! - What a request costs grows with its size, which has a bound, and is paid off the
//!   runtime's threads where it is much. A stop waits for no request.
//!
//! # What it leaves out
//!
//! Rules in CEL (`x-kubernetes-validations` are published and not evaluated),
//! webhooks, conversion between versions other than `None`, the `scale`
//! subresource, RBAC (an [`Authorizer`] decides, also who may act for others),
//! protobuf in answers (requests in protobuf are read), pods (listed as none, because clients ask for a node's
//! pods).
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use longshore_apiserver::{ApiServer, Config};
//! let server = ApiServer::open(Config::new("/var/lib/longshore/api.db"))?;
//! let controllers = tokio::spawn(server.controllers());
//! let app = server.router(); // give this to `kube::Client::new(app, "default")`
//! # drop(app);
//! server.shutdown().await;
//! controllers.await?;
//! # Ok(()) }
//! ```

mod cause;
mod control;
mod digest;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod patch;
mod path;
mod registry;
mod rest;
mod schema;
mod serve;
mod server;
mod size;
mod time;

pub use identity::{AllowMasters, Attributes, Authorizer, MASTERS, Tokens, User};
pub use longshore_objects::Options as Storage;
pub use longshore_process::http::Limits as Connections;
pub use longshore_sqlite::Error as OpenError;
pub use server::{ApiServer, Config};
