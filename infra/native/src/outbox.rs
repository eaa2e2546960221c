//! Outputs of one topic, kept as bytes and laid into record batches (Kafka's message format v2).

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::partitioner::partition_of;

const HEADER: usize = 61;
const TRANSACTIONAL: i16 = 0x10;

#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    key: u32,
    value: u32,
}

/// Records of one topic, each with a key and without headers, in the order in which they came.
#[pyclass(module = "headrace_native")]
pub struct Outbox {
    #[pyo3(get)]
    topic: String,
    pub bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[pymethods]
impl Outbox {
    #[new]
    fn new(topic: String) -> Self {
        Outbox { topic, bytes: Vec::new(), entries: Vec::new() }
    }

    fn append(&mut self, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.add(start, key.len());
    }

    fn __len__(&self) -> usize {
        self.entries.len()
    }

    /// The key and the value of one record.
    fn __getitem__<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyTuple>> {
        let entry = self.entries.get(index).ok_or_else(|| PyIndexError::new_err("no such record"))?;
        let (key, value) = self.pair(entry);
        PyTuple::new(py, [PyBytes::new(py, key), PyBytes::new(py, value)])
    }

    /// Lays the records into batches of at most `limit` bytes, by the hash of their keys; a larger record has
    /// a batch of its own. `now_ms` is their time.
    fn lay(&self, partitions: u32, limit: usize, now_ms: i64) -> Vec<RecordBatch> {
        let mut laid: Vec<RecordBatch> = Vec::new();
        let mut open: Vec<Option<usize>> = vec![None; partitions as usize];
        for entry in &self.entries {
            let (key, value) = self.pair(entry);
            let partition = partition_of(key, partitions);
            let most = key.len() + value.len() + 32; // lengths and deltas of one record take less
            let at = match open[partition as usize] {
                Some(at) if laid[at].bytes.len() + most <= limit => at,
                _ => {
                    laid.push(RecordBatch::new(partition, now_ms, limit));
                    open[partition as usize] = Some(laid.len() - 1);
                    laid.len() - 1
                }
            };
            laid[at].append(key, value);
        }
        laid
    }
}

impl Outbox {
    /// Ends the record whose key and value were written to `bytes` from `start` on.
    pub fn add(&mut self, start: usize, key: usize) {
        let value = self.bytes.len() - start - key;
        self.entries.push(Entry { start, key: key as u32, value: value as u32 });
    }

    fn pair(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let middle = entry.start + entry.key as usize;
        (&self.bytes[entry.start..middle], &self.bytes[middle..middle + entry.value as usize])
    }
}

/// One record batch for one partition, complete but for the producer's identity and the checksum.
#[pyclass(module = "headrace_native")]
pub struct RecordBatch {
    #[pyo3(get)]
    partition: u32,
    #[pyo3(get)]
    count: u32,
    bytes: Vec<u8>,
}

#[pymethods]
impl RecordBatch {
    /// The size in bytes.
    #[getter]
    fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The batch as a broker takes it.
    fn sealed<'py>(
        &mut self,
        py: Python<'py>,
        producer_id: i64,
        epoch: i16,
        sequence: i32,
        transactional: bool,
    ) -> Bound<'py, PyBytes> {
        let attributes = if transactional { TRANSACTIONAL } else { 0 };
        let length = (self.bytes.len() - 12) as i32;
        self.put(8, &length.to_be_bytes());
        self.put(21, &attributes.to_be_bytes());
        self.put(23, &(self.count as i32 - 1).to_be_bytes());
        self.put(43, &producer_id.to_be_bytes());
        self.put(51, &epoch.to_be_bytes());
        self.put(53, &sequence.to_be_bytes());
        self.put(57, &(self.count as i32).to_be_bytes());
        let checksum = crc32c::crc32c(&self.bytes[21..]);
        self.put(17, &checksum.to_be_bytes());
        PyBytes::new(py, &self.bytes)
    }
}

impl RecordBatch {
    fn new(partition: u32, now_ms: i64, limit: usize) -> Self {
        let mut bytes = Vec::with_capacity((256 * 1024).min(limit));
        bytes.resize(HEADER, 0);
        bytes[12..16].copy_from_slice(&(-1_i32).to_be_bytes()); // the leader's epoch, unknown
        bytes[16] = 2; // the format's version
        bytes[27..35].copy_from_slice(&now_ms.to_be_bytes()); // the first record's time
        bytes[35..43].copy_from_slice(&now_ms.to_be_bytes()); // the last one's
        RecordBatch { partition, count: 0, bytes }
    }

    fn append(&mut self, key: &[u8], value: &[u8]) {
        let delta = i64::from(self.count);
        let length = 3 // attributes, time and the number of headers
            + varint_size(delta)
            + varint_size(key.len() as i64)
            + key.len()
            + varint_size(value.len() as i64)
            + value.len();
        varint(length as i64, &mut self.bytes);
        self.bytes.extend_from_slice(&[0, 0]);
        varint(delta, &mut self.bytes);
        varint(key.len() as i64, &mut self.bytes);
        self.bytes.extend_from_slice(key);
        varint(value.len() as i64, &mut self.bytes);
        self.bytes.extend_from_slice(value);
        self.bytes.push(0);
        self.count += 1;
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn varint(number: i64, out: &mut Vec<u8>) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn varint_size(number: i64) -> usize {
    let bits = 64 - zigzag(number).leading_zeros() as usize;
    bits.max(1).div_ceil(7)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}
