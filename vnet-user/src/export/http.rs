//! What is answered at which path.

use std::time::Instant;

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};

use super::{Exporter, collector, negotiate, openmetrics, own::Refused, page};
use crate::report::json;

pub(super) type Answer = Response<Full<Bytes>>;

impl Exporter {
    /// The answer to a request, if who asks may have one. Its body, if it has one, is not read.
    pub(super) async fn admit<T>(&self, request: Request<T>) -> Answer {
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if self.web.admits(shown).await {
            return self.answer(&request);
        }
        self.shared.tally.refuse(Refused::Unauthorized);
        let mut answer = plain(StatusCode::UNAUTHORIZED, "name and password are needed\n");
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"vnet\""));
        answer
    }

    fn answer<T>(&self, request: &Request<T>) -> Answer {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            self.shared.tally.refuse(Refused::Unknown);
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(request),
            "/" => respond(StatusCode::OK, page::TYPE, self.shared.view(page::write)),
            "/report.json" => {
                let mut body = Vec::new();
                match json::write(&self.shared.report(), &mut body) {
                    Ok(()) => respond(StatusCode::OK, "application/json", body),
                    Err(error) => broken(&error),
                }
            }
            "/healthz" => match self.shared.stale() {
                None => plain(StatusCode::OK, "ok\n"),
                Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
            },
            _ => {
                self.shared.tally.refuse(Refused::Unknown);
                plain(StatusCode::NOT_FOUND, "there is /, /metrics, /report.json and /healthz\n")
            }
        }
    }

    fn metrics<T>(&self, request: &Request<T>) -> Answer {
        let began = Instant::now();
        let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accepted: Vec<_> = accepted.collect();
        let answer = if negotiate::openmetrics(&accepted.join(",")) {
            respond(StatusCode::OK, openmetrics::TYPE, self.openmetrics())
        } else {
            match self.text() {
                Ok(text) => respond(StatusCode::OK, collector::TEXT, text),
                Err(error) => broken(&error),
            }
        };
        self.shared.tally.scraped(began.elapsed());
        answer
    }
}

fn broken(error: &dyn std::fmt::Display) -> Answer {
    plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n"))
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    // The page is one file: no script, and nothing from elsewhere.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert("content-security-policy", HeaderValue::from_static(policy));
    answer
}
