//! A failed call as a response.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header::RETRY_AFTER},
};
use noex_actors::CallError;
use serde_json::json;

/// Seconds after which an overloaded process may be asked again.
const RETRY_AFTER_SECONDS: &str = "1";

/// A failed call, as a handler of actix-web returns it: `counter.add(1).await?`.
///
/// | Error | Status |
/// |---|---|
/// | [`CallError::NoProc`], [`CallError::NoName`] | 404 |
/// | [`CallError::Overloaded`] | 503, with `Retry-After` |
/// | [`CallError::Timeout`] | 504 |
/// | any other | 502 |
///
/// The body is `{"error": text, "delivery": "never" | "unknown" | "done"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(CallError);

impl Error {
    /// The error of the call.
    #[must_use]
    pub fn call_error(&self) -> &CallError {
        &self.0
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match &self.0 {
            CallError::NoProc(_) | CallError::NoName(_) => StatusCode::NOT_FOUND,
            CallError::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
            CallError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self.0, CallError::Overloaded(_)) {
            response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS));
        }
        response.json(json!({ "error": self.0.to_string(), "delivery": self.0.delivery() }))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::{MessageBody, to_bytes};
    use noex_actors::{NodeId, Overload};
    use serde_json::Value;

    use super::*;

    async fn answer(error: CallError) -> (u16, bool, Value) {
        let response = Error::from(error).error_response();
        let (status, retry) = (response.status().as_u16(), response.headers().contains_key(RETRY_AFTER));
        let body = to_bytes(response.into_body().boxed()).await.unwrap();
        (status, retry, serde_json::from_slice(&body).unwrap())
    }

    #[actix_rt::test]
    async fn each_error_has_its_status_and_says_whether_it_ran() {
        let (status, retry, body) = answer(CallError::NoName("counter-9".to_owned())).await;
        assert_eq!((status, retry, &body["delivery"]), (404, false, &"never".into()));
        assert!(body["error"].as_str().unwrap().contains("counter-9"));
        let (status, retry, _) = answer(CallError::Overloaded(Overload::Mailbox)).await;
        assert_eq!((status, retry), (503, true));
        let node = NodeId::parse("b@127.0.0.1:4369").unwrap();
        let (status, _, body) = answer(CallError::ConnectionLost(node)).await;
        assert_eq!((status, &body["delivery"]), (502, &"unknown".into()));
        assert_eq!(answer(CallError::NotRunning).await.0, 502);
    }
}
