//! Record batches as a broker sends them (Kafka's message format v2), read as a sequence of records.
//!
//! A fetched partition stays the bytes that came; a record is a few offsets into them until somebody asks.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PySlice, PyString, PyTuple};

const LOG_OVERHEAD: usize = 12;
const HEADER: usize = 61;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const COMPRESSION: i16 = 0x07;
const ABORT: [u8; 2] = [0, 0];

type Span = (u32, u32);

#[derive(Clone, Copy)]
pub struct Entry {
    pub offset: i64,
    pub timestamp: i64,
    buffer: u32,
    key: Option<Span>,
    value: Option<Span>,
    headers: Span,
    header_count: u32,
}

struct Fetched {
    topic: String,
    partition: i32,
    buffers: Vec<Py<PyBytes>>,
    entries: Vec<Entry>,
}

/// Records of one partition, in the order of their offsets. A slice shares the bytes.
#[pyclass(frozen, sequence, module = "headrace_native")]
pub struct RecordBlock {
    data: Arc<Fetched>,
    from: usize,
    to: usize,
    /// The offset to read on from.
    #[pyo3(get)]
    next_offset: i64,
}

#[pymethods]
impl RecordBlock {
    /// Reads what was fetched of one partition from `offset` on.
    ///
    /// Of each aborted transaction comes the producer's id and first offset; its records, and the markers, are
    /// left out. `decompress` takes the codec's number and the bytes. An incomplete batch at the end is left
    /// for the next fetch. Raises ValueError for what is no record batch or has a wrong checksum.
    #[staticmethod]
    #[pyo3(signature = (topic, partition, fetched, offset, aborted, decompress))]
    fn parse(
        py: Python<'_>,
        topic: String,
        partition: i32,
        fetched: Py<PyBytes>,
        offset: i64,
        aborted: Vec<(i64, i64)>,
        decompress: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let mut reader = Reader {
            buffers: vec![fetched.clone_ref(py)],
            entries: Vec::new(),
            next_offset: offset,
            aborted: Aborted::new(aborted),
        };
        let bytes = fetched.as_bytes(py);
        let mut at = 0;
        while let Some(length) = whole_batch(&bytes[at..]) {
            reader.batch(py, at, &bytes[at..at + length], decompress)?;
            at += length;
        }
        let Reader { buffers, entries, next_offset, .. } = reader;
        let to = entries.len();
        let data = Arc::new(Fetched { topic, partition, buffers, entries });
        Ok(RecordBlock { data, from: 0, to, next_offset })
    }

    /// Tells whether there is at least one whole batch.
    #[staticmethod]
    fn has_batch(fetched: &[u8]) -> bool {
        whole_batch(fetched).is_some()
    }

    /// Takes over any records of one partition; a block is returned as it is.
    #[staticmethod]
    fn of(py: Python<'_>, records: &Bound<'_, PyAny>) -> PyResult<Py<RecordBlock>> {
        if let Ok(block) = records.cast::<RecordBlock>() {
            return Ok(block.clone().unbind());
        }
        let mut bytes = Vec::new();
        let mut entries = Vec::new();
        let (mut topic, mut partition) = (String::new(), 0);
        for record in records.try_iter()? {
            let record = record?;
            if entries.is_empty() {
                topic = record.getattr("topic")?.extract()?;
                partition = record.getattr("partition")?.extract()?;
            }
            entries.push(taken_over(&record, &mut bytes)?);
        }
        let next_offset = entries.last().map_or(0, |entry: &Entry| entry.offset + 1);
        let to = entries.len();
        let buffers = vec![PyBytes::new(py, &bytes).unbind()];
        let data = Arc::new(Fetched { topic, partition, buffers, entries });
        Py::new(py, RecordBlock { data, from: 0, to, next_offset })
    }

    fn __len__(&self) -> usize {
        self.to - self.from
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if let Ok(slice) = index.cast::<PySlice>() {
            let span = slice.indices(self.__len__() as isize)?;
            if span.step != 1 {
                return Err(PyValueError::new_err("a block is sliced without a step"));
            }
            let from = self.from + span.start as usize;
            let to = from + span.slicelength;
            let block = RecordBlock { data: self.data.clone(), from, to, next_offset: self.next_offset };
            return Ok(Py::new(py, block)?.into_any());
        }
        let index: isize = index.extract()?;
        let length = self.__len__() as isize;
        let at = if index < 0 { index + length } else { index };
        if at < 0 || at >= length {
            return Err(PyIndexError::new_err("no such record"));
        }
        let record = Record { data: self.data.clone(), at: self.from + at as usize };
        Ok(Py::new(py, record)?.into_any())
    }

    /// The records' values, `None` for tombstones.
    fn values<'py>(&self, py: Python<'py>) -> Vec<Option<Bound<'py, PyBytes>>> {
        let buffers = self.buffers(py);
        let value = |entry: &Entry| {
            let (buffer, start, end) = entry.place()?;
            Some(PyBytes::new(py, &buffers[buffer][start..end]))
        };
        self.entries().iter().map(value).collect()
    }

    /// The records' offsets.
    fn offsets(&self) -> Vec<i64> {
        self.entries().iter().map(|entry| entry.offset).collect()
    }

    /// The records from an offset on.
    fn since(&self, offset: i64) -> Self {
        let entries = &self.data.entries[self.from..self.to];
        let from = self.from + entries.partition_point(|entry| entry.offset < offset);
        RecordBlock { data: self.data.clone(), from, to: self.to, next_offset: self.next_offset }
    }
}

impl RecordBlock {
    pub fn topic(&self) -> &str {
        &self.data.topic
    }

    pub fn partition(&self) -> i32 {
        self.data.partition
    }

    pub fn entries(&self) -> &[Entry] {
        &self.data.entries[self.from..self.to]
    }

    /// The buffers of the entries, in which their spans lie.
    pub fn buffers<'py>(&'py self, py: Python<'py>) -> Vec<&'py [u8]> {
        self.data.buffers.iter().map(|buffer| buffer.as_bytes(py)).collect()
    }
}

impl Entry {
    /// The value's place: its buffer and the span in it; `None` for a tombstone.
    pub fn place(&self) -> Option<(usize, usize, usize)> {
        let (start, length) = self.value?;
        Some((self.buffer as usize, start as usize, (start + length) as usize))
    }

    pub fn headers<'a>(&self, buffers: &[&'a [u8]]) -> Headers<'a> {
        let (start, length) = self.headers;
        let bytes = &buffers[self.buffer as usize][start as usize..(start + length) as usize];
        Headers { bytes, left: self.header_count }
    }
}

/// A record of a block, as operators take it (`schemas.record.Incoming`).
#[pyclass(frozen, module = "headrace_native")]
pub struct Record {
    data: Arc<Fetched>,
    at: usize,
}

#[pymethods]
impl Record {
    #[getter]
    fn topic<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::intern(py, &self.data.topic)
    }

    #[getter]
    fn partition(&self) -> i32 {
        self.data.partition
    }

    #[getter]
    fn offset(&self) -> i64 {
        self.entry().offset
    }

    #[getter]
    fn timestamp(&self) -> i64 {
        self.entry().timestamp
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.bytes(py, self.entry().key)
    }

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.bytes(py, self.entry().value)
    }

    /// The headers; a name that is no UTF-8 reads U+FFFD.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let buffer = self.data.buffers[self.entry().buffer as usize].as_bytes(py);
        let (start, length) = self.entry().headers;
        let bytes = &buffer[start as usize..(start + length) as usize];
        let headers = Headers { bytes, left: self.entry().header_count };
        let pairs = headers.map(|(name, value)| {
            (String::from_utf8_lossy(name).into_owned(), value.map(|value| PyBytes::new(py, value)))
        });
        PyTuple::new(py, pairs.collect::<Vec<_>>())
    }
}

impl Record {
    fn entry(&self) -> &Entry {
        &self.data.entries[self.at]
    }

    fn bytes<'py>(&self, py: Python<'py>, span: Option<Span>) -> Option<Bound<'py, PyBytes>> {
        let (start, length) = span?;
        let buffer = self.data.buffers[self.entry().buffer as usize].as_bytes(py);
        Some(PyBytes::new(py, &buffer[start as usize..(start + length) as usize]))
    }
}

/// The headers of a record: names and values.
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let mut cursor = Cursor { bytes: self.bytes, at: 0 };
        let name = cursor.sized().ok().flatten()?;
        let value = cursor.sized().ok()?;
        let pair = (&self.bytes[name.0..name.1], value.map(|(start, end)| &self.bytes[start..end]));
        self.bytes = &self.bytes[cursor.at..];
        Some(pair)
    }
}

struct Reader {
    buffers: Vec<Py<PyBytes>>,
    entries: Vec<Entry>,
    next_offset: i64,
    aborted: Aborted,
}

impl Reader {
    /// Reads one whole batch, which begins at `start` of what was fetched.
    fn batch(
        &mut self,
        py: Python<'_>,
        start: usize,
        batch: &[u8],
        decompress: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if batch.len() < HEADER || batch[16] != 2 {
            return Err(PyValueError::new_err("not a record batch of format 2"));
        }
        let checksum = u32::from_be_bytes(array(batch, 17));
        if crc32c::crc32c(&batch[21..]) != checksum {
            return Err(PyValueError::new_err("a record batch has a wrong checksum"));
        }
        let base = i64::from_be_bytes(array(batch, 0));
        let attributes = i16::from_be_bytes(array(batch, 21));
        let last = base + i64::from(i32::from_be_bytes(array(batch, 23)));
        let producer = i64::from_be_bytes(array(batch, 43));
        self.aborted.begin(base);
        if attributes & CONTROL != 0 {
            self.aborted.end(producer, batch);
        } else if attributes & TRANSACTIONAL == 0 || !self.aborted.open.contains(&producer) {
            let codec = attributes & COMPRESSION;
            if codec == 0 {
                self.records(0, start + HEADER, batch, &batch[HEADER..])?;
            } else {
                let packed = PyBytes::new(py, &batch[HEADER..]);
                let plain: Bound<'_, PyBytes> = decompress.call1((codec, packed))?.extract()?;
                self.buffers.push(plain.clone().unbind());
                self.records(self.buffers.len() - 1, 0, batch, plain.as_bytes())?;
            }
        }
        self.next_offset = self.next_offset.max(last + 1);
        Ok(())
    }

    /// Reads the records of a batch, which lie at `start` of a buffer.
    fn records(&mut self, buffer: usize, start: usize, batch: &[u8], bytes: &[u8]) -> PyResult<()> {
        let base = i64::from_be_bytes(array(batch, 0));
        let attributes = i16::from_be_bytes(array(batch, 21));
        let first_ms = i64::from_be_bytes(array(batch, 27));
        let appended_ms = i64::from_be_bytes(array(batch, 35));
        let count = i32::from_be_bytes(array(batch, 57));
        let span = |(from, to): (usize, usize)| ((start + from) as u32, (to - from) as u32);
        let mut cursor = Cursor { bytes, at: 0 };
        for _ in 0..count {
            let length = cursor.varint()?;
            let end = cursor.at.checked_add(usize::try_from(length).map_err(corrupt)?).ok_or_else(cut)?;
            cursor.skip(1)?; // attributes, unused
            let timestamp = first_ms.wrapping_add(cursor.varint()?);
            let offset = base.wrapping_add(cursor.varint()?);
            let key = cursor.sized()?.map(span);
            let value = cursor.sized()?.map(span);
            let header_count = u32::try_from(cursor.varint()?).map_err(corrupt)?;
            if end > bytes.len() || cursor.at > end {
                return Err(cut());
            }
            let headers = span((cursor.at, end));
            cursor.at = end;
            if offset < self.next_offset {
                continue; // before what was asked for: a batch comes whole
            }
            let timestamp = if attributes & LOG_APPEND_TIME != 0 { appended_ms } else { timestamp };
            self.entries.push(Entry {
                offset,
                timestamp,
                buffer: buffer as u32,
                key,
                value,
                headers,
                header_count,
            });
        }
        Ok(())
    }
}

/// Which producers' transactions are being read that were aborted.
struct Aborted {
    coming: Vec<(i64, i64)>, // the last first
    open: HashSet<i64>,
}

impl Aborted {
    fn new(mut transactions: Vec<(i64, i64)>) -> Self {
        transactions.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
        Aborted { coming: transactions, open: HashSet::new() }
    }

    fn begin(&mut self, offset: i64) {
        while self.coming.last().is_some_and(|(_, first)| *first <= offset) {
            if let Some((producer, _)) = self.coming.pop() {
                self.open.insert(producer);
            }
        }
    }

    /// Reads a marker: version and type are its key, behind length, attributes, two deltas and the key's size.
    fn end(&mut self, producer: i64, batch: &[u8]) {
        let mut cursor = Cursor { bytes: &batch[HEADER..], at: 0 };
        let key = (|| {
            cursor.varint()?;
            cursor.skip(1)?;
            cursor.varint()?;
            cursor.varint()?;
            cursor.sized()
        })();
        if let Ok(Some((start, end))) = key {
            if batch[HEADER..][start..end].get(2..4) == Some(&ABORT) {
                self.open.remove(&producer);
            }
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn varint(&mut self) -> PyResult<i64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = *self.bytes.get(self.at).ok_or_else(cut)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
            shift += 7;
            if shift > 63 {
                return Err(cut());
            }
        }
    }

    fn skip(&mut self, bytes: usize) -> PyResult<()> {
        self.at += bytes;
        if self.at > self.bytes.len() {
            return Err(cut());
        }
        Ok(())
    }

    /// Reads a size and skips so many bytes; returns where they lie, `None` for null.
    fn sized(&mut self) -> PyResult<Option<(usize, usize)>> {
        let Ok(size) = usize::try_from(self.varint()?) else { return Ok(None) };
        let start = self.at;
        let end = start.checked_add(size).filter(|end| *end <= self.bytes.len()).ok_or_else(cut)?;
        self.at = end;
        Ok(Some((start, end)))
    }
}

fn taken_over(record: &Bound<'_, PyAny>, bytes: &mut Vec<u8>) -> PyResult<Entry> {
    let mut keep = |attribute: &str| -> PyResult<Option<Span>> {
        let Some(taken): Option<Bound<'_, PyBytes>> = record.getattr(attribute)?.extract()? else {
            return Ok(None);
        };
        let start = bytes.len();
        bytes.extend_from_slice(taken.as_bytes());
        Ok(Some((start as u32, taken.as_bytes().len() as u32)))
    };
    let (key, value) = (keep("key")?, keep("value")?);
    let start = bytes.len();
    let mut header_count = 0;
    for header in record.getattr("headers")?.try_iter()? {
        let (name, value): (String, Option<Bound<'_, PyBytes>>) = header?.extract()?;
        put_sized(Some(name.as_bytes()), bytes);
        put_sized(value.as_ref().map(|value| value.as_bytes()), bytes);
        header_count += 1;
    }
    Ok(Entry {
        offset: record.getattr("offset")?.extract()?,
        timestamp: record.getattr("timestamp")?.extract()?,
        buffer: 0,
        key,
        value,
        headers: (start as u32, (bytes.len() - start) as u32),
        header_count,
    })
}

fn put_sized(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let size = bytes.map_or(-1, |bytes| bytes.len() as i64);
    let mut rest = ((size << 1) ^ (size >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// The length of the batch at the beginning, if all of it is there.
fn whole_batch(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < LOG_OVERHEAD {
        return None;
    }
    let length = usize::try_from(i32::from_be_bytes(array(bytes, 8))).ok()?.checked_add(LOG_OVERHEAD)?;
    (length <= bytes.len()).then_some(length)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[at..at + N]);
    taken
}

fn cut() -> PyErr {
    PyValueError::new_err("a record batch is shorter than it says")
}

fn corrupt<E>(_: E) -> PyErr {
    PyValueError::new_err("a record batch has a negative length")
}
