//! How long a request may still take.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, dev::Payload, error::ErrorBadRequest, rt::time::Instant,
};
use noex_actors::DEFAULT_TIMEOUT;

/// The header in which a client says how many milliseconds it waits.
const HEADER: &str = "x-request-timeout-ms";
/// The longest time that a client may ask for.
const LONGEST: Duration = Duration::from_secs(600);

/// Extractor: what is left of the request's deadline. Give it to the calls of the handler, one after the other:
/// `counter.add(1).timeout(budget.remaining()).await?`.
///
/// The client's `X-Request-Timeout-Ms: 1..=600000` says how long; 5 s, the default of a call, if it says nothing; 400 if
/// it says anything else. The time begins when the first budget of the request is extracted.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    deadline: Instant,
}

impl Budget {
    /// What is left; zero when the time is over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl FromRequest for Budget {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        if let Some(budget) = request.extensions().get::<Self>() {
            return ready(Ok(*budget));
        }
        let header = request.headers().get(HEADER).map(|value| value.as_bytes());
        ready(match longest(header) {
            Some(time) => {
                let budget = Self { deadline: Instant::now() + time };
                request.extensions_mut().insert(budget);
                Ok(budget)
            }
            None => Err(ErrorBadRequest(format!(
                "{HEADER} must be a whole number from 1 to {}",
                LONGEST.as_millis()
            ))),
        })
    }
}

fn longest(header: Option<&[u8]>) -> Option<Duration> {
    let Some(text) = header else { return Some(DEFAULT_TIMEOUT) };
    let text =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let time = Duration::from_millis(text.parse().ok()?);
    (time > Duration::ZERO && time <= LONGEST).then_some(time)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_client_may_say_how_long_it_waits() {
        assert_eq!(longest(None), Some(DEFAULT_TIMEOUT));
        assert_eq!(longest(Some(b"250")), Some(Duration::from_millis(250)));
        for wrong in ["", "0", "-1", "600001", "1s", "99999999999999999999"] {
            assert_eq!(longest(Some(wrong.as_bytes())), None, "{wrong}");
        }
    }

    #[actix_rt::test]
    async fn a_request_has_one_deadline() {
        let request = TestRequest::default().insert_header((HEADER, "60000")).to_http_request();
        let first = Budget::extract(&request).await.unwrap();
        let second = Budget::extract(&request).await.unwrap();
        assert_eq!(first.deadline, second.deadline);
        assert!(first.remaining() > Duration::from_secs(50) && first.remaining() <= Duration::from_secs(60));
    }
}
