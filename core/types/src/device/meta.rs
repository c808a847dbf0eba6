//! What every object of the API has.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{API_VERSION, GROUP, VERSION, is_default, or_default};

/// `metadata` of an object, as far as a device needs it.
///
/// Owned here, because the edge has no Kubernetes client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// The object's name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    /// The namespace; empty before the API server or a loader has filled it in.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub namespace: String,
    /// The identity that survives no delete.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub uid: String,
    /// The revision, to be compared for equality only.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub resource_version: String,
    /// Counts changes of the spec.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub generation: i64,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// RFC 3339; set while finalizers hold the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Labels.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Who wants to clean up before the object goes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub finalizers: Vec<String>,
    /// Owners, unread.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub owner_references: Vec<serde_json::Value>,
}

/// `apiVersion`: always [`API_VERSION`]. Reading refuses another one, because
/// its fields would mean something else, and takes an absent one as ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiVersion;

/// `kind` of `T`. Reading refuses another kind.
pub struct Kind<T>(PhantomData<fn() -> T>);

/// A type that is a kind of the API.
pub(super) trait Named {
    const KIND: &'static str;
}

/// `metadata` of a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    /// The revision from which a watch goes on.
    #[serde(deserialize_with = "or_default")]
    pub resource_version: String,
}

/// A list of objects as the API server gives it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct ObjectList<T> {
    /// The list's own metadata.
    #[serde(default)]
    pub metadata: ListMeta,
    /// The objects.
    #[serde(default = "Vec::new", deserialize_with = "or_default")]
    pub items: Vec<T>,
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(API_VERSION)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?.as_deref() {
            None | Some("" | API_VERSION) => Ok(Self),
            Some(other) => Err(D::Error::custom(format_args!(
                "apiVersion `{other}` is not supported, expected `{GROUP}/{VERSION}`"
            ))),
        }
    }
}

impl<T: Named> Serialize for Kind<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(T::KIND)
    }
}

impl<'de, T: Named> Deserialize<'de> for Kind<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?.as_deref() {
            Some(other) if !other.is_empty() && other != T::KIND => Err(D::Error::custom(
                format_args!("kind `{other}` where `{}` is expected", T::KIND),
            )),
            _ => Ok(Self::default()),
        }
    }
}

impl<T> Default for Kind<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Kind<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Kind<T> {}

impl<T> PartialEq for Kind<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T: Named> fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::KIND)
    }
}
