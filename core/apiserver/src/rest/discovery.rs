//! Discovery: what groups, versions and resources there are, in both forms.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::accept::accepted;
use super::request::Target;
use super::review;
use super::status::{ApiError, json_response};
use crate::registry::{Class, Registry, Resource};

pub(super) fn answer(
    registry: &Registry,
    target: &Target,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let aggregated = aggregated_version(headers);
    let body = match (target, aggregated) {
        (Target::CoreVersions | Target::Groups, Some(version)) => {
            let core = *target == Target::CoreVersions;
            let mut response = json_response(StatusCode::OK, &aggregate(registry, core, version));
            let media = format!(
                "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            );
            if let Ok(value) = HeaderValue::from_str(&media) {
                response.headers_mut().insert(header::CONTENT_TYPE, value);
            }
            response
                .headers_mut()
                .insert(header::VARY, HeaderValue::from_static("Accept"));
            return Ok(response);
        }
        (Target::CoreVersions, None) => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}),
        (Target::Groups, None) => {
            let groups: Vec<Value> = groups(registry)
                .iter()
                .filter(|(name, _)| !name.is_empty())
                .map(group)
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        (Target::Group(wanted), _) => {
            let groups = groups(registry);
            let found = groups
                .iter()
                .find(|(name, _)| name == wanted && !name.is_empty());
            let mut body = group(found.ok_or_else(ApiError::no_such_path)?);
            body["kind"] = json!("APIGroup");
            body["apiVersion"] = json!("v1");
            body
        }
        (Target::Resources { group, version }, _) => {
            let versions = groups(registry);
            let known = versions
                .iter()
                .any(|(name, versions)| name == group && versions.contains(version));
            if !known {
                return Err(ApiError::no_such_path());
            }
            legacy(registry, group, version)
        }
        _ => return Err(ApiError::no_such_path()),
    };
    Ok(json_response(StatusCode::OK, &body))
}

/// The version of aggregated discovery that the client prefers, if it knows one.
fn aggregated_version(headers: &HeaderMap) -> Option<&'static str> {
    accepted(headers).iter().find_map(|part| {
        if part.parameter("as") != Some("APIGroupDiscoveryList") {
            return None;
        }
        match part.parameter("v") {
            Some("v2") => Some("v2"),
            Some("v2beta1") => Some("v2beta1"),
            _ => None,
        }
    })
}

/// Groups of resources and of reviews.
fn groups(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut groups = registry.groups();
    for (name, _, _) in review::RESOURCES {
        groups.push(((*name).to_owned(), vec!["v1".to_owned()]));
    }
    groups
}

fn group((name, versions): &(String, Vec<String>)) -> Value {
    let list: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": list.first(), "versions": list})
}

const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

fn subresources(resource: &Resource) -> Vec<(&'static str, &'static [&'static str])> {
    let mut list = Vec::new();
    if resource.class == Class::Namespace {
        list.push(("finalize", &["update"][..]));
    }
    if resource.status {
        list.push(("status", STATUS_VERBS));
    }
    list
}

fn legacy(registry: &Registry, group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for resource in registry
        .all()
        .filter(|resource| resource.group == group && resource.version == version)
    {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs(),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        for (name, verbs) in subresources(resource) {
            list.push(
                json!({"name": format!("{}/{name}", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs}),
            );
        }
    }
    for (name, plural, kind) in review::RESOURCES
        .iter()
        .filter(|(name, _, _)| *name == group)
    {
        let _ = name;
        list.push(json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind,
            "verbs": ["create"]}));
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

fn aggregate(registry: &Registry, core: bool, version: &str) -> Value {
    let mut items = Vec::new();
    for (name, versions) in groups(registry)
        .iter()
        .filter(|(name, _)| name.is_empty() == core)
    {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let own = registry
                    .all()
                    .filter(|resource| resource.group == *name && resource.version == *version);
                let mut resources: Vec<Value> =
                    own.map(|resource| aggregated_resource(resource)).collect();
                for (_, plural, kind) in review::RESOURCES
                    .iter()
                    .filter(|(group, _, _)| group == name)
                {
                    resources.push(
                        json!({"resource": plural, "scope": "Cluster", "verbs": ["create"],
                        "responseKind": {"group": name, "version": "v1", "kind": kind},
                        "singularResource": kind.to_lowercase()}),
                    );
                }
                json!({"version": version, "resources": resources, "freshness": "Current"})
            })
            .collect();
        items.push(
            json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions}),
        );
    }
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {},
        "items": items})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs(),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, verbs)| json!({"subresource": name, "responseKind": kind, "verbs": verbs}))
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}
