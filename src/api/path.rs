//! Tidies the path of a request before it is routed.
//!
//! Clients join base address and endpoint in different ways. A redirect to the tidy path does not help: OkHttp turns a
//! redirected POST into a GET. So doubled and trailing slashes are removed here. Percent-encoded slashes are data (part
//! of a template id) and stay.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// Removes doubled and trailing slashes.
pub(super) fn tidy(mut request: Request) -> Request {
    if let Some(uri) = tidied(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn tidied(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) {
        return None;
    }
    let mut tidy = String::with_capacity(uri.path_and_query()?.as_str().len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        tidy.push('/');
        tidy.push_str(segment);
    }
    if tidy.is_empty() {
        tidy.push('/');
    }
    if let Some(query) = uri.query() {
        tidy.push('?');
        tidy.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(tidy).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidy(text: &str) -> String {
        let uri: Uri = text.parse().unwrap();
        tidied(&uri).unwrap_or(uri).to_string()
    }

    #[test]
    fn slashes_are_tidied_and_the_query_stays() {
        assert_eq!(tidy("//api//v1.0/identify/?a=//&b=/"), "/api/v1.0/identify?a=//&b=/");
        assert_eq!(tidy("/api/v1.0/identify//"), "/api/v1.0/identify");
        assert_eq!(tidy("/api/v1.0/identify?x=1"), "/api/v1.0/identify?x=1");
        assert_eq!(tidy("/"), "/");
        assert_eq!(tidy("///"), "/");
    }

    #[test]
    fn an_encoded_slash_is_data() {
        assert_eq!(tidy("/templates/a%2F%2Fb/"), "/templates/a%2F%2Fb");
    }

    #[test]
    fn an_absolute_address_keeps_its_host() {
        assert_eq!(tidy("http://host:1/a//b"), "http://host:1/a/b");
    }
}
