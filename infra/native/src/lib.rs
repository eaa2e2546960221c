//! The inner loops of the cleaning stage and of the default drift detector, where a Python statement an event costs
//! more than the event's work.
//!
//! - `fetched`: record batches as brokers send them, read as a sequence of records (`RecordBlock`);
//! - `outbox`: outputs of one topic, laid into record batches as brokers take them (`Outbox`, `RecordBatch`);
//! - `recent`: the ring of a source's last readings (`Recent`);
//! - `fast_path`: plain sensor readings from their JSON to the clean event's, with `document` and `moment`;
//! - `detectors`: the drift detector over error bits (`RiseDetector`).
//!
//! Everything else, and every event that is not plain, is Python's: `streams.operators` is the specification,
//! and tests compare both byte by byte.

use pyo3::prelude::*;

mod detectors;
mod document;
mod fast_path;
mod fetched;
mod moment;
mod outbox;
mod partitioner;
mod recent;

#[pymodule]
fn headrace_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<fetched::RecordBlock>()?;
    module.add_class::<fetched::Record>()?;
    module.add_class::<outbox::Outbox>()?;
    module.add_class::<outbox::RecordBatch>()?;
    module.add_class::<recent::Recent>()?;
    module.add_class::<fast_path::FastPath>()?;
    module.add_class::<fast_path::Parsed>()?;
    module.add_class::<detectors::RiseDetector>()?;
    module.add("WINDOW", recent::WINDOW)?;
    Ok(())
}
