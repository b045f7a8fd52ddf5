//! Reads the time to wait before the next call from the headers of an error response.

use std::time::{Duration, SystemTime};

use awc::http::header::{HeaderMap, RETRY_AFTER};

/// The delay in milliseconds, which OpenAI and Azure send beside `Retry-After`. It is the more exact one.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// The longest delay: a year.
const LONGEST_SECONDS: f64 = 31_536_000.0;

/// Returns the time to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). A
/// date in the past means no wait. Values that cannot be read are ignored.
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

/// Returns this many seconds as a duration, at most a year, if they are valid.
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
    fn a_very_long_delay_becomes_a_year() {
        for text in ["99999999999999999999", "1e30", "inf", "1e400"] {
            assert_eq!(read(&[("retry-after", text)]), Some(Duration::from_secs(31_536_000)), "{text}");
        }
    }

    #[test]
    fn a_delay_that_cannot_be_read_is_ignored() {
        assert_eq!(read(&[]), None);
        for text in ["", "soon", "-1", "NaN"] {
            assert_eq!(read(&[("retry-after", text)]), None, "{text}");
            assert_eq!(read(&[("retry-after-ms", text)]), None, "{text}");
        }
    }
}
