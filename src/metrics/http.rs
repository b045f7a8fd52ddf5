//! Metrics of requests and connections.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, Registry};

use super::family::Family;
use super::{MetricsError, names};

/// The label for the route of a path that is not in the URL table, and for a method that is not a standard one.
const OTHER: &str = "other";

/// Metrics of requests and refused connections.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<IntCounterVec, 3>,
    duration: Family<HistogramVec, 2>,
    refused: Family<IntCounterVec, 2>,
    connections_refused: Family<IntCounterVec, 1>,
}

impl HttpMetrics {
    pub(super) fn open(registry: &Registry) -> Result<Self, MetricsError> {
        let connections_refused = names::CONNECTIONS_REFUSED.open(registry)?;
        for reason in ["open_files", "address"] {
            let _ = connections_refused.of([reason]);
        }
        Ok(Self {
            requests: names::REQUESTS.open(registry)?,
            duration: names::REQUEST_DURATION.open(registry)?,
            refused: names::REFUSED.open(registry)?,
            connections_refused,
        })
    }

    /// Counts an answered request, with its duration. `route` is the pattern of its path, if there is one. `refused` is
    /// the error code of the answer, if the answer is an error.
    pub fn answered(
        &self,
        route: Option<&str>,
        method: &str,
        status: u16,
        took: Duration,
        refused: Option<&'static str>,
    ) {
        let route = route.unwrap_or(OTHER);
        let method = match method {
            known @ ("GET" | "POST" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "PATCH") => known,
            _ => OTHER,
        };
        let mut digits = [0; 3];
        self.requests.of([route, method, written(status, &mut digits)]).inc();
        self.duration.of([route, method]).observe(took.as_secs_f64());
        if let Some(code) = refused {
            self.refused.of([route, code]).inc();
        }
    }

    /// Counts a connection that was closed at once for this reason.
    pub fn connection_refused(&self, reason: &str) {
        self.connections_refused.of([reason]).inc();
    }
}

/// Returns a status in digits, without an allocation for each request.
fn written(status: u16, digits: &mut [u8; 3]) -> &str {
    *digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    std::str::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, Now};

    #[test]
    fn invented_routes_and_methods_create_no_series() {
        let metrics = Metrics::new(std::iter::empty()).unwrap();
        for method in ["BREW", "TEA"] {
            metrics.http.answered(None, method, 404, Duration::ZERO, Some("not_found"));
        }
        let text = metrics.text(&Now::new()).unwrap();
        let line = "hearken_http_requests_total{method=\"other\",route=\"other\",status=\"404\"} 2\n";
        assert!(text.contains(line), "{text}");
    }
}
