//! Plain sensor readings, from the record's JSON to the clean event's: what nearly every one of them takes.
//!
//! `parse` reads a block's events, says whose they are and takes their fingerprints; `clean` goes on from one
//! of them until it meets an event that is not plain: it came late, its readings are new or remarkable, or it
//! could not be parsed. That one is Python's, and `clean` goes on behind it, so that the order is kept and both
//! work on the same memory: the sets of `Dedupe`, and `Recent` in `History`.

use std::collections::HashMap;

use blake2::digest::{consts::U16, Digest};
use blake2::Blake2b;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySet, PyString};

use crate::document;
use crate::fetched::{Entry, RecordBlock};
use crate::moment;
use crate::outbox::Outbox;
use crate::recent::Recent;

const MOST_SOURCES: usize = 131_072;
const MOST_NAMES: usize = 16_384;
const NO_HOME: u32 = u32::MAX;

/// Where a stream's events are at home.
#[derive(Clone, Copy, PartialEq)]
enum Rekey {
    Auto,
    Always,
    Never,
}

/// What a stream's configuration says of plain readings.
struct Plan {
    name: Vec<u8>,
    head: Vec<u8>,
    max_bytes: usize,
    rekey: Rekey,
    ranges: Vec<(Vec<u8>, f64, f64)>,
    remembers: bool,
    judges: bool,
    hampel: Option<f64>,
    dedupe: Py<PyAny>,
    history: Py<PyAny>,
    renewed: Py<PyAny>,
    accepted: u64,
    duplicates: u64,
    newest: i64,
}

struct Source {
    text: Py<PyString>,
    characters: usize,
    home: u32,
}

struct Name {
    bytes: Vec<u8>,
    text: Py<PyString>,
}

struct Reading {
    plan: u32,
    source: u32,
    buffer: u32,
    source_span: (u32, u32),
    id_span: (u32, u32),
    time: i64,
    values: (u32, u32),
    key: Py<PyBytes>,
}

/// A block's events, as far as they are plain.
#[pyclass(module = "headrace_native")]
pub struct Parsed {
    block: Py<RecordBlock>,
    events: Vec<Option<Reading>>,
    values: Vec<(u32, f64)>,
}

#[pymethods]
impl Parsed {
    /// The indices of the events that are not plain.
    #[getter]
    fn others(&self) -> Vec<usize> {
        (0..self.events.len()).filter(|at| self.events[*at].is_none()).collect()
    }

    /// The fingerprints of the plain events of one plan.
    fn keys<'py>(&self, py: Python<'py>, plan: u32) -> PyResult<Bound<'py, PyList>> {
        let own = self.events.iter().flatten().filter(|event| event.plan == plan);
        PyList::new(py, own.map(|event| event.key.bind(py)).collect::<Vec<_>>())
    }
}

/// The plain way of the sensor streams of one lane.
#[pyclass(module = "headrace_native")]
pub struct FastPath {
    plans: Vec<Plan>,
    unnamed: Option<usize>,
    home_of: Option<Py<PyAny>>,
    partitions: u64,
    max_name: usize,
    min_readings: u64,
    renewal: u64,
    sources: HashMap<Vec<u8>, u32>,
    source_list: Vec<Source>,
    names: HashMap<Vec<u8>, u32>,
    name_list: Vec<Name>,
}

#[pymethods]
impl FastPath {
    /// `unnamed` is the plan of events that name no stream, if it is among the plans. `home_of` gives the home
    /// partition of a source among `partitions`; without it every event is at home where it is met.
    #[new]
    #[pyo3(signature = (*, unnamed, home_of, partitions, max_name, min_readings, renewal))]
    fn new(
        unnamed: Option<usize>,
        home_of: Option<Py<PyAny>>,
        partitions: u64,
        max_name: usize,
        min_readings: u64,
        renewal: u64,
    ) -> Self {
        FastPath {
            plans: Vec::new(),
            unnamed,
            home_of,
            partitions: partitions.max(1),
            max_name,
            min_readings,
            renewal: renewal.max(1),
            sources: HashMap::new(),
            source_list: Vec::new(),
            names: HashMap::new(),
            name_list: Vec::new(),
        }
    }

    /// Adds a stream. `name` needs no escapes in JSON. `dedupe` and `history` are its memories; `renewed` gives
    /// the limits that follow from a window of readings, `hampel` the deviations where they are Hampel's.
    #[pyo3(signature = (
        name, *, max_bytes, rekey, ranges, remembers, judges, hampel, dedupe, history, renewed
    ))]
    #[allow(clippy::too_many_arguments)] // keywords, each told apart by its name
    fn add_plan(
        &mut self,
        name: String,
        max_bytes: usize,
        rekey: &str,
        ranges: Vec<(String, f64, f64)>,
        remembers: bool,
        judges: bool,
        hampel: Option<f64>,
        dedupe: Py<PyAny>,
        history: Py<PyAny>,
        renewed: Py<PyAny>,
    ) -> PyResult<()> {
        let rekey = match rekey {
            "auto" => Rekey::Auto,
            "always" => Rekey::Always,
            "never" => Rekey::Never,
            _ => return Err(PyTypeError::new_err(format!("no way of re-keying is called {rekey}"))),
        };
        self.plans.push(Plan {
            head: format!("{{\"stream\":\"{name}\",\"kind\":\"sensor\",\"source\":\"").into_bytes(),
            name: name.into_bytes(),
            max_bytes,
            rekey,
            ranges: ranges.into_iter().map(|(name, low, high)| (name.into_bytes(), low, high)).collect(),
            remembers,
            judges,
            hampel,
            dedupe,
            history,
            renewed,
            accepted: 0,
            duplicates: 0,
            newest: 0,
        });
        Ok(())
    }

    /// Reads the events of a block that was met in partition `met`.
    fn parse(&mut self, py: Python<'_>, block: Py<RecordBlock>, met: u32) -> PyResult<Parsed> {
        if self.source_list.len() > MOST_SOURCES {
            self.sources.clear();
            self.source_list.clear();
        }
        if self.name_list.len() > MOST_NAMES {
            self.names.clear();
            self.name_list.clear();
        }
        let fetched = block.get();
        let buffers = fetched.buffers(py);
        let mut values = Vec::with_capacity(fetched.entries().len() * 4);
        let mut spans = Vec::new();
        let mut events = Vec::with_capacity(fetched.entries().len());
        for entry in fetched.entries() {
            let first = values.len();
            spans.clear();
            let event = self.event(py, entry, &buffers, met, &mut spans, &mut values)?;
            if event.is_none() {
                values.truncate(first);
            }
            events.push(event);
        }
        Ok(Parsed { block, events, values })
    }

    /// Cleans from event `at` on and returns the index of the first that is Python's, or their number.
    ///
    /// `late` and `newest` (µs since 1970) bound the times of plain events, `long_ago` has for each plan the
    /// fingerprints of the block that lie in its large memory.
    fn clean(
        &mut self,
        py: Python<'_>,
        parsed: &Parsed,
        at: usize,
        outbox: &mut Outbox,
        long_ago: Vec<Bound<'_, PySet>>,
        bounds: Vec<(i64, i64)>,
    ) -> PyResult<usize> {
        let block = parsed.block.get();
        let buffers = block.buffers(py);
        let coordinates = format!(
            "\",\"raw\":{{\"topic\":\"{}\",\"partition\":{},\"offset\":",
            block.topic(),
            block.partition()
        );
        let mut memories = Vec::with_capacity(self.plans.len());
        for (plan, long_ago) in self.plans.iter().zip(long_ago) {
            memories.push(Memory::of(plan.dedupe.bind(py), long_ago)?);
        }
        let mut pasts: Vec<Bound<'_, Recent>> = Vec::new();
        let mut known: Option<(u32, u32, Bound<'_, PyDict>)> = None;
        for (index, entry) in block.entries().iter().enumerate().skip(at) {
            let Some(event) = &parsed.events[index] else { return Ok(index) };
            let plan = &mut self.plans[event.plan as usize];
            let memory = &memories[event.plan as usize];
            let key = event.key.bind(py);
            if memory.holds(key)? {
                plan.duplicates += 1;
                continue;
            }
            let (late, newest) = bounds[event.plan as usize];
            if event.time < late || event.time > newest {
                return Ok(index);
            }
            let (first, count) = (event.values.0 as usize, event.values.1 as usize);
            let values = &parsed.values[first..first + count];
            if !plan.ranges.is_empty() && !in_range(plan, &self.name_list, values) {
                return Ok(index);
            }
            if plan.remembers {
                let recent = match known {
                    Some((plan, source, recent)) if plan == event.plan && source == event.source => recent,
                    _ => {
                        let source = self.source_list[event.source as usize].text.bind(py);
                        plan.history.bind(py).call1((source,))?.cast_into::<PyDict>()?
                    }
                };
                let unremarkable = unremarkable(py, &self.name_list, values, &recent, &mut pasts)?;
                known = Some((event.plan, event.source, recent));
                if !unremarkable {
                    return Ok(index);
                }
                for (past, (_, value)) in pasts.iter().zip(values) {
                    let count = past.borrow_mut().add(*value);
                    if plan.judges && (count % self.renewal == 0 || count == self.min_readings) {
                        renew(py, plan, past)?;
                    }
                }
            }
            memory.add(key)?;
            plan.accepted += 1;
            plan.newest = event.time;
            write(
                plan,
                &self.name_list,
                event,
                values,
                entry,
                buffers[event.buffer as usize],
                coordinates.as_bytes(),
                outbox,
            );
        }
        Ok(block.entries().len())
    }

    /// What was counted of a plan since the last call: accepted, duplicates, the last one's time (µs).
    fn tally(&mut self, plan: usize) -> (u64, u64, i64) {
        let plan = &mut self.plans[plan];
        let counted = (plan.accepted, plan.duplicates, plan.newest);
        (plan.accepted, plan.duplicates) = (0, 0);
        counted
    }
}

impl FastPath {
    fn event(
        &mut self,
        py: Python<'_>,
        entry: &Entry,
        buffers: &[&[u8]],
        met: u32,
        spans: &mut Vec<(std::ops::Range<usize>, f64)>,
        values: &mut Vec<(u32, f64)>,
    ) -> PyResult<Option<Reading>> {
        let Some((buffer, start, end)) = entry.place() else { return Ok(None) };
        if !structured(entry, buffers) {
            return Ok(None);
        }
        let document = &buffers[buffer][start..end];
        if std::str::from_utf8(document).is_err() {
            return Ok(None);
        }
        let Some(found) = document::read(document, spans) else { return Ok(None) };
        let Some(plan) = self.plan_of(found.stream.map(|name| &document[name])) else { return Ok(None) };
        let too_long = found.id.len() + found.source.len() > self.max_name;
        if document.len() > self.plans[plan].max_bytes
            || too_long
            || found.id.is_empty()
            || found.source.is_empty()
        {
            return Ok(None);
        }
        let Some(time) = moment::parse(&document[found.time]) else { return Ok(None) };
        let source = self.source(py, &document[found.source.clone()])?;
        let known = &self.source_list[source as usize];
        let fingerprint =
            fingerprint(known.characters, &document[found.source.clone()], &document[found.id.clone()]);
        if self.home_of.is_some() && !self.at_home(plan, known.home, &fingerprint, met) {
            return Ok(None);
        }
        let first = values.len() as u32;
        for (name, value) in spans.iter() {
            let before = values.len().checked_sub(spans.len()).map(|before| values[before].0);
            let name = self.name(py, &document[name.clone()], before);
            values.push((name, *value));
        }
        let span = |range: std::ops::Range<usize>| ((start + range.start) as u32, range.len() as u32);
        Ok(Some(Reading {
            plan: plan as u32,
            source,
            buffer: buffer as u32,
            source_span: span(found.source),
            id_span: span(found.id),
            time,
            values: (first, values.len() as u32 - first),
            key: PyBytes::new(py, &fingerprint).unbind(),
        }))
    }

    fn plan_of(&self, stream: Option<&[u8]>) -> Option<usize> {
        match stream {
            None | Some(b"") => self.unnamed,
            Some(name) => self.plans.iter().position(|plan| plan.name == name),
        }
    }

    fn at_home(&self, plan: usize, home: u32, fingerprint: &[u8; 16], met: u32) -> bool {
        match self.plans[plan].rekey {
            Rekey::Never => true,
            Rekey::Auto => home == met,
            Rekey::Always => {
                let mut half = [0; 8];
                half.copy_from_slice(&fingerprint[8..]);
                u64::from_le_bytes(half) % self.partitions == u64::from(met)
            }
        }
    }

    fn source(&mut self, py: Python<'_>, bytes: &[u8]) -> PyResult<u32> {
        if let Some(known) = self.sources.get(bytes) {
            return Ok(*known);
        }
        let text = PyString::new(py, &String::from_utf8_lossy(bytes));
        let home = match &self.home_of {
            Some(home_of) => home_of.bind(py).call1((&text,))?.extract()?,
            None => NO_HOME,
        };
        let characters = text.len()?;
        let index = self.source_list.len() as u32;
        self.source_list.push(Source { text: text.unbind(), characters, home });
        self.sources.insert(bytes.to_vec(), index);
        Ok(index)
    }

    /// Returns the index of a reading's name; `guess` is the one that stood in its place in the last event.
    fn name(&mut self, py: Python<'_>, bytes: &[u8], guess: Option<u32>) -> u32 {
        if let Some(guess) = guess.filter(|guess| self.name_list[*guess as usize].bytes == bytes) {
            return guess;
        }
        if let Some(known) = self.names.get(bytes) {
            return *known;
        }
        let index = self.name_list.len() as u32;
        let text = PyString::intern(py, &String::from_utf8_lossy(bytes)).unbind();
        self.name_list.push(Name { bytes: bytes.to_vec(), text });
        self.names.insert(bytes.to_vec(), index);
        index
    }
}

/// The sets in which `Dedupe` remembers what was accepted lately.
struct Memory<'py> {
    hot: Bound<'py, PyDict>,
    added: Bound<'py, PyList>,
    bucket: Bound<'py, PyAny>,
    long_ago: Option<Bound<'py, PySet>>,
}

impl<'py> Memory<'py> {
    fn of(dedupe: &Bound<'py, PyAny>, long_ago: Bound<'py, PySet>) -> PyResult<Self> {
        let (hot, added, bucket) = dedupe.call_method0("newest")?.extract()?;
        Ok(Memory { hot, added, bucket, long_ago: (!long_ago.is_empty()).then_some(long_ago) })
    }

    fn holds(&self, key: &Bound<'py, PyBytes>) -> PyResult<bool> {
        match &self.long_ago {
            Some(long_ago) => Ok(self.hot.contains(key)? || long_ago.contains(key)?),
            None => self.hot.contains(key),
        }
    }

    fn add(&self, key: &Bound<'py, PyBytes>) -> PyResult<()> {
        self.hot.set_item(key, &self.bucket)?;
        self.added.append(key)
    }
}

/// BLAKE2b with 128 bits of `length:source id`, as `streams.operators.dedupe.fingerprint` has it.
fn fingerprint(characters: usize, source: &[u8], id: &[u8]) -> [u8; 16] {
    let mut state = Blake2b::<U16>::new();
    state.update(characters.to_string().as_bytes());
    state.update(b":");
    state.update(source);
    state.update(id);
    state.finalize().into()
}

/// Tells whether the headers leave it to the value to be the whole event (CloudEvents' Kafka binding).
fn structured(entry: &Entry, buffers: &[&[u8]]) -> bool {
    const JSON: &[u8] = b"application/cloudevents+json";
    for (name, value) in entry.headers(buffers) {
        if name.eq_ignore_ascii_case(b"content-type") {
            let value = value.unwrap_or_default();
            let Some(start) = value.get(..JSON.len()) else { continue };
            if start.eq_ignore_ascii_case(JSON) {
                return true;
            }
            if start.eq_ignore_ascii_case(b"application/cloudevents-batc") {
                return false;
            }
        } else if !name.is_ascii() || name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"ce_")) {
            return false;
        }
    }
    true
}

fn in_range(plan: &Plan, names: &[Name], values: &[(u32, f64)]) -> bool {
    values.iter().all(|(name, value)| {
        let bounds = plan.ranges.iter().find(|(known, _, _)| *known == names[*name as usize].bytes);
        bounds.map_or(true, |(_, low, high)| low <= value && value <= high)
    })
}

/// Collects what is remembered of each reading; false if one is new or outside its limits.
fn unremarkable<'py>(
    py: Python<'py>,
    names: &[Name],
    values: &[(u32, f64)],
    recent: &Bound<'py, PyDict>,
    pasts: &mut Vec<Bound<'py, Recent>>,
) -> PyResult<bool> {
    pasts.clear();
    for (name, value) in values {
        let Some(past) = recent.get_item(names[*name as usize].text.bind(py))? else { return Ok(false) };
        let past = past.cast_into::<Recent>()?;
        if !past.borrow().holds(*value) {
            return Ok(false);
        }
        pasts.push(past);
    }
    Ok(true)
}

fn renew(py: Python<'_>, plan: &Plan, past: &Bound<'_, Recent>) -> PyResult<()> {
    let limits = plan.hampel.and_then(|sigmas| past.borrow().hampel(sigmas));
    let (low, high) = match limits {
        Some(limits) => limits,
        None => {
            let readings = past.borrow().readings();
            plan.renewed.bind(py).call1((readings,))?.extract()?
        }
    };
    let mut past = past.borrow_mut();
    (past.low, past.high) = (low, high);
    Ok(())
}

/// Writes the clean event, its fields in the order of `schemas.clean.Clean`; the key is the source.
#[allow(clippy::too_many_arguments)] // what one event is made of
fn write(
    plan: &Plan,
    names: &[Name],
    event: &Reading,
    values: &[(u32, f64)],
    entry: &Entry,
    buffer: &[u8],
    coordinates: &[u8],
    outbox: &mut Outbox,
) {
    let span = |(start, length): (u32, u32)| &buffer[start as usize..(start + length) as usize];
    let (source, id) = (span(event.source_span), span(event.id_span));
    let start = outbox.bytes.len();
    let out = &mut outbox.bytes;
    out.extend_from_slice(source);
    out.extend_from_slice(&plan.head);
    out.extend_from_slice(source);
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(id);
    out.extend_from_slice(b"\",\"time\":\"");
    moment::write(event.time, out);
    out.extend_from_slice(coordinates);
    out.extend_from_slice(entry.offset.to_string().as_bytes());
    out.extend_from_slice(b"},\"values\":{");
    let mut number = ryu::Buffer::new();
    for (at, (name, value)) in values.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(&names[*name as usize].bytes);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(number.format_finite(*value).as_bytes());
    }
    out.extend_from_slice(b"}}");
    outbox.add(start, source.len());
}
