//! The inner loop of `streams.detectors.ensemble`: error bits in, whether the error rate has risen out.
//!
//! The maths, its papers and its constants' reasons are told in `streams/detectors/ensemble.py`; a test holds
//! this code to a plain reading of them.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Buckets of one size before the two oldest merge: change points are told apart to about a tenth of their age.
const MAX_BUCKETS: usize = 8;
/// Bits between two looks for a fall.
const FALL_CLOCK: u64 = 16;
/// A change point whose log-likelihood ratio lies this far below the threshold adds nothing.
const NEGLIGIBLE: f64 = 7.0;
/// The least rise that is one: odds of an error 15 % higher, as a log.
const LEAST_RISE: f64 = 0.139_761_942_375_158_7;
/// How little the mixture makes of a rise for being large.
const TAIL: f64 = 0.03;
/// Bits from which on the threshold stands, and the share of it that it is never below.
const YOUNG: f64 = 10_000.0;
const YOUNGEST: f64 = 500.0;
/// What the threshold is raised by after a detection, and the bits without a fall that end it.
const CAUTION: f64 = 3.0;
const SETTLED: u64 = 5_000;

/// Sums evidence for a rise over every change point of an exponential histogram.
#[pyclass(module = "headrace_native")]
pub struct RiseDetector {
    threshold: f64,
    fall: f64,
    levels: Vec<Vec<u64>>, // level r: errors in buckets of 2^r bits, oldest first
    count: u64,
    errors: u64,
    #[pyo3(get)]
    drift_detected: bool,
    /// Whether there was a detection and what came after it has not settled yet.
    #[pyo3(get)]
    unsettled: bool,
}

#[pymethods]
impl RiseDetector {
    #[new]
    fn new(threshold: f64, fall: f64) -> Self {
        let levels = vec![Vec::new()];
        RiseDetector { threshold, fall, levels, count: 0, errors: 0, drift_detected: false, unsettled: false }
    }

    /// Takes a bit; after a detection it is the first of a new stream.
    fn update(&mut self, error: bool) {
        if self.drift_detected {
            self.levels = vec![Vec::new()];
            self.count = 0;
            self.errors = 0;
            self.drift_detected = false;
            self.unsettled = true;
        }
        self.append(error);
        self.unsettled = self.unsettled && self.count < SETTLED;
        // A right answer only lowers every later rate, so evidence of a rise can be complete at errors alone.
        if error {
            self.drift_detected = self.has_risen();
        }
        if !self.drift_detected && self.count % FALL_CLOCK == 0 {
            self.forget_before_fall();
        }
    }

    /// Takes bits, one a byte, up to the first detection; returns its index.
    fn update_many(&mut self, errors: &[u8]) -> Option<usize> {
        for (at, &error) in errors.iter().enumerate() {
            self.update(error != 0);
            if self.drift_detected {
                return Some(at);
            }
        }
        None
    }

    /// Bits and errors since the newest fall.
    #[getter]
    fn seen(&self) -> (u64, u64) {
        (self.count, self.errors)
    }

    #[getter]
    fn levels(&self) -> Vec<Vec<u64>> {
        self.levels.clone()
    }

    /// Goes on from `levels`, `drift_detected` and `unsettled` of another.
    fn restore(&mut self, levels: Vec<Vec<u64>>, detected: bool, unsettled: bool) -> PyResult<()> {
        let fits = |(level, row): (usize, &Vec<u64>)| {
            level < 48 && row.len() <= MAX_BUCKETS && row.iter().all(|&errors| errors <= 1 << level)
        };
        if levels.is_empty() || !levels.iter().enumerate().all(fits) {
            return Err(PyValueError::new_err("these are not the levels of a snapshot"));
        }
        self.levels = levels;
        self.drift_detected = detected;
        self.unsettled = unsettled;
        self.recount();
        Ok(())
    }
}

/// Bits and errors before a change point and from it on, and the older side's level and index in it.
struct Cut {
    n0: f64,
    s0: f64,
    n1: f64,
    s1: f64,
    width: f64,
    at: (usize, usize),
}

impl RiseDetector {
    fn append(&mut self, error: bool) {
        self.levels[0].push(u64::from(error));
        self.count += 1;
        self.errors += u64::from(error);
        let mut level = 0;
        while self.levels[level].len() > MAX_BUCKETS {
            let merged: u64 = self.levels[level].drain(..2).sum();
            level += 1;
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(merged);
        }
    }

    fn recount(&mut self) {
        let all = || self.levels.iter().enumerate();
        self.count = all().map(|(level, row)| (row.len() as u64) << level).sum();
        self.errors = all().map(|(_, row)| row.iter().sum::<u64>()).sum();
    }

    /// Shows every change point, the newest first, whose chi-squared reaches `least` and where the later rate
    /// is higher (`rise`) or lower. Chi-squared bounds the likelihood ratio from above and needs no logarithm.
    fn each_cut(&self, least: f64, rise: bool, mut show: impl FnMut(&Cut) -> bool) {
        let (n, s) = (self.count as f64, self.errors as f64);
        let limit = least * s * (n - s);
        let (mut n1, mut s1) = (0.0, 0.0);
        for (level, row) in self.levels.iter().enumerate() {
            let width = (1_u64 << level) as f64;
            for (index, &errors) in row.iter().enumerate().rev() {
                n1 += width;
                s1 += errors as f64;
                let (n0, s0) = (n - n1, s - s1);
                if n0 < 1.0 {
                    return;
                }
                let lead = s1 * n0 - s0 * n1;
                if (lead > 0.0) != rise || lead * lead * n < limit * n0 * n1 {
                    continue;
                }
                if show(&Cut { n0, s0, n1, s1, width, at: (level, index) }) {
                    return;
                }
            }
        }
    }

    fn has_risen(&self) -> bool {
        let least = (self.threshold - NEGLIGIBLE).max(1.0);
        let age = (self.count as f64).clamp(YOUNGEST, YOUNG);
        let factor = if self.unsettled { CAUTION.exp() } else { (age / YOUNG).sqrt() };
        let goal = self.threshold.exp() * factor;
        let mut sum = 0.0;
        self.each_cut(least, true, |cut| {
            let ratio = cut.log_ratio();
            if ratio >= least {
                sum += cut.width * cut.weight() * ratio.exp();
            }
            sum >= goal
        });
        sum >= goal
    }

    fn forget_before_fall(&mut self) {
        let (mut best, mut found) = (self.fall, None);
        self.each_cut(self.fall, false, |cut| {
            let ratio = cut.log_ratio();
            if ratio >= best {
                (best, found) = (ratio, Some(cut.at));
            }
            false
        });
        if let Some((level, index)) = found {
            self.levels.truncate(level + 1);
            self.levels[level].drain(..index);
            self.recount();
        }
    }
}

impl Cut {
    /// The log of the generalised likelihood ratio of two rates to one.
    fn log_ratio(&self) -> f64 {
        let (n0, s0, n1, s1) = (self.n0, self.s0, self.n1, self.s1);
        let rate = (s0 + s1) / (n0 + n1);
        let part = |k: f64, n: f64, p: f64| if k > 0.0 { k * (k / n / p).ln() } else { 0.0 };
        part(s0, n0, rate)
            + part(n0 - s0, n0, 1.0 - rate)
            + part(s1, n1, rate)
            + part(n1 - s1, n1, 1.0 - rate)
    }

    /// Laplace's approximation of what the mixture over the rise makes of the ratio at its best rise.
    fn weight(&self) -> f64 {
        let (a0, b0) = (self.s0 + 0.5, self.n0 - self.s0 + 0.5);
        let (a1, b1) = (self.s1 + 0.5, self.n1 - self.s1 + 0.5);
        let rise = (a1 * b0 / (a0 * b1)).ln();
        if rise < LEAST_RISE {
            return 0.0;
        }
        let variance = 1.0 / a0 + 1.0 / b0 + 1.0 / a1 + 1.0 / b1;
        (std::f64::consts::TAU * variance).sqrt() * rise * (-rise * rise / 2.0).exp().max(TAIL)
    }
}
