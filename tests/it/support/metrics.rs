//! What the program's metrics say, scraped as Prometheus does.

use std::collections::BTreeMap;

use super::hearken::Hearken;
use super::http::Client;
use super::until;

/// A scrape: each series, as it is written, with its value.
#[derive(Debug)]
pub(crate) struct Scraped(BTreeMap<String, f64>);

impl Scraped {
    /// Reads the text format, as far as this program writes it.
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

    /// The value of a series, which must be there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.find(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()))
    }

    /// The value of a series, if it is there.
    pub(crate) fn find(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// Each of these series has the value that stands beside it.
    pub(crate) fn holds(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.value(series), *value, "{series}");
        }
    }

    /// All series.
    pub(crate) fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Hearken {
    /// Somebody who calls the listener for metrics.
    pub(crate) fn watcher(&self) -> Client {
        let line = self.log_line("metrics at http://");
        let (_, address) = line.split_once("http://").unwrap();
        let address = address.trim_end_matches("/metrics").parse().unwrap();
        Client { address, key: None, secrets: self.client().secrets }
    }

    /// What the metrics say now.
    pub(crate) fn metrics(&self) -> Scraped {
        Scraped::parse(&self.watcher().get("/metrics").expect(200).text())
    }

    /// Scrapes until a series has a value, and once more: what a scrape tells is not all of the same moment.
    pub(crate) fn metrics_say(&self, series: &str, value: f64) -> Scraped {
        until(&format!("{series} is {value}"), || (self.metrics().find(series) == Some(value)).then_some(()));
        self.metrics()
    }
}
