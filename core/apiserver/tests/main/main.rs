//! The API server as its clients see it: plain requests, `kube::Client`, kubectl.

mod clients;
mod hostile;
mod http2;
mod identity;
mod kube_client;
mod kubectl;
mod lifecycle;
mod requests;
#[allow(dead_code)]
mod support;
mod watches;
