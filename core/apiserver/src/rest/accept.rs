//! In which form a client wants its answer, by its `Accept` headers.

use http::{HeaderMap, header};

use super::status::ApiError;

/// What an answer shows of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Object,
    Table,
    /// Metadata only.
    Partial,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// One form that a client takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted<'a> {
    /// The media type, without its parameters.
    pub(crate) media: &'a str,
    parameters: &'a str,
}

impl<'a> Accepted<'a> {
    fn read(part: &'a str) -> Accepted<'a> {
        let (media, parameters) = part.split_once(';').unwrap_or((part, ""));
        Accepted {
            media: media.trim(),
            parameters,
        }
    }

    /// A parameter of the media type.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut parameters = self.parameters.split(';');
        parameters.find_map(|parameter| {
            let (given, value) = parameter.split_once('=')?;
            (given.trim() == name).then_some(value.trim())
        })
    }

    /// How much the client wants it, in thousandths.
    fn weight(&self) -> u16 {
        let weight = self.parameter("q").and_then(|text| text.parse().ok());
        (weight.unwrap_or(1.0_f32).clamp(0.0, 1.0) * 1000.0) as u16
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.media {
            "application/json" | "application/*" | "*/*" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            _ => None,
        }
    }

    fn output(&self) -> Option<Output> {
        match self.parameter("as") {
            None => Some(Output::Object),
            Some("Table") => Some(Output::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Output::Partial),
            Some(_) => None,
        }
    }
}

/// What the client takes, the most wanted first.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Accepted<'_>> {
    let values = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let parts = values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let mut all: Vec<Accepted<'_>> = parts.map(Accepted::read).collect();
    all.retain(|part| part.weight() > 0);
    all.sort_by_key(|part| std::cmp::Reverse(part.weight()));
    all
}

/// What a list or an object can be answered in.
const FORMS: &[&str] = &["application/json", "application/yaml"];

/// A watch is a stream, which YAML is not.
const STREAMS: &[&str] = &["application/json"];

/// The form of an answer about objects; JSON where nothing is said.
///
/// # Errors
/// The client takes nothing that there is.
pub(crate) fn negotiate(headers: &HeaderMap, watch: bool) -> Result<Output, ApiError> {
    let all = accepted(headers);
    if !headers.contains_key(header::ACCEPT) {
        return Ok(Output::Object);
    }
    let fits = |part: &&Accepted<'_>| match part.encoding() {
        Some(Encoding::Json) => true,
        Some(Encoding::Yaml) => !watch,
        None => false,
    };
    let found = all.iter().filter(fits).find_map(Accepted::output);
    let forms = if watch { STREAMS } else { FORMS };
    found.ok_or_else(|| ApiError::not_acceptable(forms))
}

/// How an answer is written: as the first form says that there is.
pub(crate) fn encoding(headers: &HeaderMap) -> Encoding {
    let all = accepted(headers);
    let mut known = all.iter().filter_map(Accepted::encoding);
    known.next().unwrap_or(Encoding::Json)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(accept: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers
    }

    #[test]
    fn the_first_form_that_there_is() {
        use Encoding::{Json, Yaml};
        use Output::{Object, Partial, Table};
        for (accept, output, written) in [
            ("application/json", Object, Json),
            ("application/yaml", Object, Yaml),
            ("*/*", Object, Json),
            ("text/html, */*;q=0.8", Object, Json),
            ("application/json;q=0.5, application/yaml", Object, Yaml),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Table,
                Json,
            ),
            ("application/json;as=Nothing,application/yaml", Object, Json),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata",
                Partial,
                Json,
            ),
        ] {
            let headers = headers(accept);
            assert_eq!(negotiate(&headers, false).ok(), Some(output), "{accept}");
            assert_eq!(encoding(&headers), written, "{accept}");
        }
        for accept in ["text/html", "application/cbor", "application/json;q=0"] {
            let refused = negotiate(&headers(accept), false);
            assert_eq!(
                refused.map(drop).map_err(|error| error.code()),
                Err(406),
                "{accept}"
            );
        }
        assert!(negotiate(&headers("application/yaml"), true).is_err());
        assert!(negotiate(&HeaderMap::new(), true).is_ok());
    }
}
