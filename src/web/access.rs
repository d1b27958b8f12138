//! Who may ask `/noex/api`: this machine, and whoever shows the token.
//!
//! The address is that of the connection. What headers say of it is what the client says of itself.

use std::{
    fmt,
    future::{Ready, ready},
    net::IpAddr,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::{
        StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    web::Data,
};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::Endpoints;

/// The token that others than loopback must show; none by default.
#[derive(Clone, Default)]
pub(super) struct Token(Option<String>);

impl Token {
    /// Reads `API_TOKEN`; an empty one is none.
    pub(super) fn from_env() -> Self {
        Self(std::env::var("API_TOKEN").ok().filter(|token| !token.is_empty()))
    }

    /// Decides about one request.
    fn check(&self, peer: Option<IpAddr>, authorization: Option<&[u8]>) -> Result<(), Denied> {
        if peer.is_some_and(|ip| ip.to_canonical().is_loopback()) {
            return Ok(());
        }
        let Some(token) = &self.0 else { return Err(Denied::Closed) };
        let shown = authorization.and_then(|header| {
            let (scheme, token) = header.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
        });
        // SECURITY: constant time, so that the token cannot be guessed byte by byte.
        let fits = shown.is_some_and(|shown| bool::from(shown.ct_eq(token.as_bytes())));
        if fits { Ok(()) } else { Err(Denied::Token) }
    }
}

/// Extractor: lets a request in as `/noex/api` does.
///
/// From loopback always; from elsewhere only with `Authorization: Bearer …` and the token that the [`Endpoints`] of the
/// application read from `API_TOKEN`: 401 if it is another, 403 if there is none.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Allowed;

impl FromRequest for Allowed {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let none = Token::default();
        let token = request.app_data::<Data<Endpoints>>().map_or(&none, |endpoints| endpoints.token());
        let peer = request.peer_addr().map(|addr| addr.ip());
        let authorization = request.headers().get(AUTHORIZATION).map(|header| header.as_bytes());
        ready(token.check(peer, authorization).map(|()| Self).map_err(Into::into))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    /// No token is set: only loopback.
    Closed,
    /// No token, or another.
    Token,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "only from this machine: API_TOKEN is not set",
            Self::Token => "a valid token is needed",
        })
    }
}

impl ResponseError for Denied {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Closed => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if *self == Self::Token {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(json!({ "error": self.to_string(), "delivery": "never" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: &str = "192.0.2.7";

    fn check(token: Option<&str>, peer: &str, header: Option<&str>) -> Result<(), Denied> {
        let token = Token(token.map(str::to_owned));
        token.check(peer.parse().ok(), header.map(str::as_bytes))
    }

    #[test]
    fn loopback_needs_nothing() {
        for loopback in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check(None, loopback, None), Ok(()));
            assert_eq!(check(Some("t"), loopback, Some("Bearer wrong")), Ok(()));
        }
    }

    #[test]
    fn others_need_the_token() {
        assert_eq!(check(None, FAR, None), Err(Denied::Closed));
        assert_eq!(check(None, FAR, Some("Bearer ")), Err(Denied::Closed));
        assert_eq!(check(None, "unix socket", None), Err(Denied::Closed));
        assert_eq!(check(Some("secret"), FAR, Some("Bearer secret")), Ok(()));
        assert_eq!(check(Some("secret"), FAR, Some("bearer secret")), Ok(()));
        for wrong in
            ["Bearer secre", "Bearer secrets", "Bearer ", "Bearer", "Basic secret", "secret", "", "é"]
        {
            assert_eq!(check(Some("secret"), FAR, Some(wrong)), Err(Denied::Token), "{wrong}");
        }
        assert_eq!(check(Some("secret"), FAR, None), Err(Denied::Token));
    }
}
