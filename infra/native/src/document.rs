//! Reads the JSON of a plain sensor event; consumes a document, produces the spans of what matters in it.
//!
//! Plain is a CloudEvent in the JSON format whose strings need no unescaping, whose `type` is the newest
//! version's, and whose readings are numbers. `None` means that Python has to look, never that it is wrong.

use std::ops::Range;

pub const TYPE: &[u8] = b"headrace.sensor.reading.v2";
const VERSION: &[u8] = b"1.0";
const MOST_READINGS: usize = 64;
const LONGEST_NAME: usize = 128;
/// Between these, and at 0, Python's encoder and ours write a number alike.
const SMALLEST: f64 = 1e-3;
const LARGEST: f64 = 1e15;

/// One plain event; spans lie in the document.
pub struct Event {
    pub id: Range<usize>,
    pub source: Range<usize>,
    pub time: Range<usize>,
    pub stream: Option<Range<usize>>,
}

/// Reads a document; its readings, as spans of their names and numbers, are appended to `readings`.
pub fn read(document: &[u8], readings: &mut Vec<(Range<usize>, f64)>) -> Option<Event> {
    let mut scan = Scan { bytes: document, at: 0 };
    let (mut id, mut source, mut time, mut stream) = (None, None, None, None);
    let (mut version, mut kind, mut data, mut subject) = (false, false, false, false);
    scan.open(b'{')?;
    loop {
        let name = scan.string()?;
        scan.punctuation(b':')?;
        let twice = match &document[name] {
            b"specversion" => {
                let text = scan.string()?;
                (&document[text] == VERSION).then_some(())?;
                std::mem::replace(&mut version, true)
            }
            b"type" => {
                let text = scan.string()?;
                (&document[text] == TYPE).then_some(())?;
                std::mem::replace(&mut kind, true)
            }
            b"id" => id.replace(scan.string()?).is_some(),
            b"source" => source.replace(scan.string()?).is_some(),
            b"time" => time.replace(scan.string()?).is_some(),
            b"stream" => stream.replace(scan.string()?).is_some(),
            b"subject" => {
                scan.string()?;
                std::mem::replace(&mut subject, true)
            }
            b"data" => {
                scan.data(readings)?;
                std::mem::replace(&mut data, true)
            }
            _ => {
                scan.scalar()?;
                false
            }
        };
        if twice || scan.next(b'}')? {
            (!twice).then_some(())?;
            break;
        }
    }
    scan.space();
    (scan.at == document.len() && version && kind && data).then_some(())?;
    Some(Event { id: id?, source: source?, time: time?, stream })
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// Reads `{"values": {…}}`; empty `units` say nothing.
    fn data(&mut self, readings: &mut Vec<(Range<usize>, f64)>) -> Option<()> {
        let (mut values, mut units) = (false, false);
        self.open(b'{')?;
        loop {
            let name = self.string()?;
            self.punctuation(b':')?;
            let twice = match &self.bytes[name] {
                b"values" => {
                    self.values(readings)?;
                    std::mem::replace(&mut values, true)
                }
                b"units" => {
                    self.open(b'{')?;
                    self.punctuation(b'}')?;
                    std::mem::replace(&mut units, true)
                }
                _ => return None,
            };
            if twice {
                return None;
            }
            if self.next(b'}')? {
                return values.then_some(());
            }
        }
    }

    fn values(&mut self, readings: &mut Vec<(Range<usize>, f64)>) -> Option<()> {
        let first = readings.len();
        self.open(b'{')?;
        loop {
            let name = self.string()?;
            self.punctuation(b':')?;
            let number = self.number()?;
            let size = number.abs();
            let alike = (SMALLEST..LARGEST).contains(&size) || (size == 0.0 && number.is_sign_positive());
            let named =
                |(known, _): &(Range<usize>, f64)| self.bytes[known.clone()] == self.bytes[name.clone()];
            let sized = (1..=LONGEST_NAME).contains(&name.len());
            if !alike
                || !sized
                || readings.len() - first >= MOST_READINGS
                || readings[first..].iter().any(named)
            {
                return None;
            }
            readings.push((name, number));
            if self.next(b'}')? {
                return Some(());
            }
        }
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn open(&mut self, bracket: u8) -> Option<()> {
        self.punctuation(bracket)?;
        self.space();
        Some(())
    }

    fn punctuation(&mut self, sign: u8) -> Option<()> {
        self.space();
        (self.bytes.get(self.at) == Some(&sign)).then(|| self.at += 1)?;
        Some(())
    }

    /// Reads what follows a member: a comma, or the closing bracket, which is true.
    fn next(&mut self, bracket: u8) -> Option<bool> {
        self.space();
        let sign = *self.bytes.get(self.at)?;
        self.at += 1;
        match sign {
            b',' => {
                self.space();
                Some(false)
            }
            _ => (sign == bracket).then_some(true),
        }
    }

    /// Reads a string without escapes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.space();
        (self.bytes.get(self.at) == Some(&b'"')).then_some(())?;
        let start = self.at + 1;
        for (length, byte) in self.bytes[start..].iter().enumerate() {
            match byte {
                b'"' => {
                    self.at = start + length + 1;
                    return Some(start..start + length);
                }
                b'\\' | 0..=0x1f => return None,
                _ => {}
            }
        }
        None
    }

    /// Reads a number as JSON writes it; −0 as a whole number is Python's to read.
    fn number(&mut self) -> Option<f64> {
        self.space();
        let start = self.at;
        self.take(b"-");
        let whole = self.digits();
        if whole == 0 || (whole > 1 && self.bytes[self.at - whole] == b'0') {
            return None;
        }
        let mut fraction = false;
        if self.take(b".") {
            fraction = true;
            (self.digits() > 0).then_some(())?;
        }
        if self.take(b"eE") {
            fraction = true;
            self.take(b"+-");
            (self.digits() > 0).then_some(())?;
        }
        if !fraction && whole > 15 {
            return None; // a whole number beyond the doubles' precision
        }
        std::str::from_utf8(&self.bytes[start..self.at]).ok()?.parse().ok()
    }

    fn take(&mut self, signs: &[u8]) -> bool {
        let found = self.bytes.get(self.at).is_some_and(|byte| signs.contains(byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> usize {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// Skips a member that nobody reads, if it is no structure and has no escapes.
    fn scalar(&mut self) -> Option<()> {
        self.space();
        match self.bytes.get(self.at)? {
            b'"' => self.string().map(|_| ()),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(|_| ()),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())?;
        Some(())
    }
}
