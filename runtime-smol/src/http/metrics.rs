//! `/metrics`: what the server counts, for Prometheus.
//!
//! Who asks needs a token of an administrator's, or an API key of scope `metrics` or `admin`; the loopback is no exception,
//! since what comes through a proxy on this machine comes from there, too.

use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};

use super::{Counted, Refusal, Response, Site, caller};
use crate::metrics::Now;

/// The text format of OpenMetrics, 1.0.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `/metrics`.
pub(super) async fn answer<B>(counted: &Counted, request: &Request<B>) -> Result<Response, Refusal> {
    let visitor = caller::anybody(counted, request.headers()).await?;
    if !visitor.may_measure() {
        return Err(caller::forbidden("this is for administrators, and for API keys of scope metrics"));
    }
    let site = &counted.site;
    let text = site.metrics.text(now(site));
    let mut response = Response::new(Bytes::from(text).into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What only this room knows.
pub(super) fn now(site: &Site) -> Now {
    let storage_queue = site.store.upgrade().map_or(0, |store| store.waiting());
    Now { sockets: site.open.get(), storage_queue }
}

/// What a path is counted as: one of few, whatever clients write.
pub(super) fn route(path: &str) -> &'static str {
    const ROUTES: [&str; 14] = [
        "/health",
        "/ready",
        "/metrics",
        "/api/login",
        "/api/token",
        "/api/search",
        "/ws/chat",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/admin",
        "/",
    ];
    if let Some(route) = ROUTES.into_iter().find(|route| *route == path) {
        return route;
    }
    match path {
        path if path.starts_with("/api/admin/") => "/api/admin/*",
        path if path.starts_with("/v1/") => "/v1/*",
        path if crate::page::asset(path).is_some() => "page",
        _ => "other",
    }
}
