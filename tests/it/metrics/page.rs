//! Parses a page of OpenMetrics.

use std::collections::{BTreeMap, BTreeSet};

/// A sample: `name{label="value"} 1`.
#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
    series: String,
}

/// A page.
pub struct Page {
    /// The kind of each metric, by its name without a suffix.
    kinds: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

impl Page {
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "it has no end: {text}");
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        Self { kinds, samples }
    }

    /// The labels of each metric, by the name used in queries: with `_total` and `_info`, without suffixes such as
    /// `_bucket`.
    pub fn labels_by_metric(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sample in &self.samples {
            let labels = sample.labels.iter().map(|(label, _)| label.clone());
            let labels = labels.filter(|label| label != "le");
            metrics.entry(self.metric_of(&sample.name).to_owned()).or_default().extend(labels);
        }
        // A metric without a sample is declared but not exported.
        for (name, kind) in &self.kinds {
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            metrics.entry(format!("{name}{suffix}")).or_default();
        }
        metrics
    }

    fn metric_of<'a>(&self, name: &'a str) -> &'a str {
        let histogram = |name: &&str| self.kinds.get(*name).is_some_and(|kind| kind == "histogram");
        let cut = ["_bucket", "_sum", "_count"].into_iter().filter_map(|suffix| name.strip_suffix(suffix));
        cut.into_iter().find(histogram).unwrap_or(name)
    }

    /// The labels of a sample's name, with their values.
    pub fn values(&self, name: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (label, value) in
            self.samples.iter().filter(|sample| sample.name == name).flat_map(|sample| &sample.labels)
        {
            values.entry(label).or_default().insert(value);
        }
        values
    }

    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    /// Every series: names with labels.
    pub fn series(&self) -> BTreeSet<String> {
        self.samples.iter().map(|sample| sample.series.clone()).collect()
    }

    pub fn has_series(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.find(name, labels).is_some()
    }

    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("there is no {name} {labels:?}")).value
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        self.samples.iter().find(|sample| {
            let own: BTreeMap<_, _> = sample.labels.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            sample.name == name && labels.iter().all(|(label, value)| own.get(label) == Some(value))
        })
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} has no value"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line:?} has no end"));
    // No label value contains a comma or a quote. If one does, parsing fails, and so does the test.
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (label, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
        (label.to_owned(), value.strip_suffix('"').unwrap_or_else(|| panic!("{line:?}")).to_owned())
    });
    let labels = labels.collect();
    let value = value.parse().unwrap_or_else(|_| panic!("{line:?} has no number"));
    Sample { name: name.to_owned(), labels, value, series: series.to_owned() }
}
