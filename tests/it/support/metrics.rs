//! The values of the program's metrics, scraped as Prometheus does.

use std::collections::BTreeMap;

use super::hearken::Hearken;
use super::http::Client;
use super::until;

/// A scrape: each series, as it is written, with its value.
#[derive(Debug)]
pub(crate) struct Scraped(BTreeMap<String, f64>);

impl Scraped {
    /// Reads the part of the text format that this program writes.
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .map(|line| {
                    let (series, value) =
                        line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
                    (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
                })
                .collect(),
        )
    }

    /// Returns the value of a series, which must exist.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.find(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()))
    }

    /// Returns the value of a series, if it exists.
    pub(crate) fn find(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// Asserts that each of these series has the value beside it.
    pub(crate) fn holds(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.value(series), *value, "{series}");
        }
    }

    /// Returns all series.
    pub(crate) fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Hearken {
    /// Returns a client of the listener for metrics.
    pub(crate) fn watcher(&self) -> Client {
        let line = self.log_line("metrics at http://");
        let (_, address) = line.split_once("http://").unwrap();
        let address = address.trim_end_matches("/metrics").parse().unwrap();
        Client { address, key: None, secrets: self.client().secrets }
    }

    /// Scrapes the metrics.
    pub(crate) fn metrics(&self) -> Scraped {
        Scraped::parse(&self.watcher().get("/metrics").expect(200).text())
    }

    /// Scrapes until a series has a value, and then once more: the values of one scrape are not all of the same moment.
    pub(crate) fn metrics_say(&self, series: &str, value: f64) -> Scraped {
        until(&format!("{series} is {value}"), || (self.metrics().find(series) == Some(value)).then_some(()));
        self.metrics()
    }
}
