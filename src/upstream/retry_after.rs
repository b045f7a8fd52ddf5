//! When an upstream says, in the headers of an error, that it may be asked again.

use std::time::{Duration, SystemTime};

use awc::http::header::{HeaderMap, RETRY_AFTER};

/// In milliseconds, as OpenAI and Azure send it beside `Retry-After`; it is the more exact one.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// A year.
const LONGEST_SECONDS: f64 = 31_536_000.0;

/// The time that is left: `retry-after-ms`, else `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
/// A date that has passed is no wait at all. What cannot be read says nothing.
#[must_use]
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let exact = text(RETRY_AFTER_MS).and_then(|text| text.parse::<f64>().ok()).map(|ms| ms / 1000.0);
    if let Some(wait) = exact.and_then(wait) {
        return Some(wait);
    }
    let text = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.parse::<f64>() {
        return wait(seconds);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// So many seconds, where they are a time at all; what is longer than any wait is as long as that.
#[must_use]
pub(super) fn wait(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST_SECONDS)))
}

#[cfg(test)]
mod tests {
    use awc::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        retry_after(&headers.iter().map(header).collect())
    }

    #[test]
    fn seconds_milliseconds_and_dates_are_read() {
        assert_eq!(read(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(read(&[("retry-after", " 1.5 ")]), Some(Duration::from_millis(1500)));
        let both = [("retry-after", "1"), ("retry-after-ms", "432")];
        assert_eq!(read(&both), Some(Duration::from_millis(432)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let left = read(&[("retry-after", &date)]).unwrap();
        assert!((98..=100).contains(&left.as_secs()), "{left:?}");
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::ZERO));
    }

    #[test]
    fn a_hint_that_is_absurd_is_a_long_one() {
        for text in ["99999999999999999999", "1e30", "inf", "1e400"] {
            assert_eq!(read(&[("retry-after", text)]), Some(Duration::from_secs(31_536_000)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        assert_eq!(read(&[]), None);
        for text in ["", "soon", "-1", "NaN"] {
            assert_eq!(read(&[("retry-after", text)]), None, "{text}");
            assert_eq!(read(&[("retry-after-ms", text)]), None, "{text}");
        }
    }
}
