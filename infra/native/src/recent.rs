//! The last readings of one name of one source, and the limits that the outlier test derived from them.

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

pub const WINDOW: usize = 64;

/// A ring: once it is full, reading number `count` takes the place of the oldest.
#[pyclass(module = "headrace_native")]
pub struct Recent {
    readings: Vec<f64>,
    #[pyo3(get)]
    count: u64,
    #[pyo3(get, set)]
    pub low: f64,
    #[pyo3(get, set)]
    pub high: f64,
}

#[pymethods]
impl Recent {
    /// Between the first limits lies every reading but the infinities and NaN.
    #[new]
    #[pyo3(signature = (readings = Vec::new(), count = 0, low = f64::MIN, high = f64::MAX))]
    fn new(readings: Vec<f64>, count: u64, low: f64, high: f64) -> Self {
        let kept = readings[readings.len().saturating_sub(WINDOW)..].to_vec();
        Recent { count: count.max(kept.len() as u64), readings: kept, low, high }
    }

    /// Remembers a reading; returns how many there have been.
    pub fn add(&mut self, reading: f64) -> u64 {
        if self.readings.len() < WINDOW {
            self.readings.push(reading);
        } else {
            self.readings[(self.count % WINDOW as u64) as usize] = reading;
        }
        self.count += 1;
        self.count
    }

    /// The readings, in the order of the ring.
    #[getter]
    pub fn readings(&self) -> Vec<f64> {
        self.readings.clone()
    }

    /// The newest reading; there must be one.
    #[getter]
    fn last(&self) -> PyResult<f64> {
        let at = (self.count.wrapping_sub(1) % WINDOW as u64) as usize;
        self.readings.get(at).copied().ok_or_else(|| PyIndexError::new_err("there is no reading yet"))
    }
}

impl Recent {
    pub fn holds(&self, reading: f64) -> bool {
        self.low <= reading && reading <= self.high
    }

    /// Hampel's limits: median ± `sigmas` · 1.4826 · MAD; `None` where the MAD is 0 or the sums overflow.
    pub fn hampel(&self, sigmas: f64) -> Option<(f64, f64)> {
        let mut ordered = [0.0; WINDOW];
        let ordered = &mut ordered[..self.readings.len()];
        ordered.copy_from_slice(&self.readings);
        ordered.sort_unstable_by(f64::total_cmp);
        let middle = median(ordered);
        for reading in ordered.iter_mut() {
            *reading = (middle - *reading).abs();
        }
        ordered.sort_unstable_by(f64::total_cmp);
        let sigma = 1.4826 * median(ordered);
        let (low, high) = (middle - sigmas * sigma, middle + sigmas * sigma);
        (sigma > 0.0 && low < high && low.is_finite() && high.is_finite()).then_some((low, high))
    }
}

fn median(ordered: &[f64]) -> f64 {
    let half = ordered.len() / 2;
    if ordered.len() % 2 == 1 {
        ordered[half]
    } else {
        (ordered[half - 1] + ordered[half]) / 2.0
    }
}
