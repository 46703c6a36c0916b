//! A body into raw slices (BIK T2–T4), on bytes: what is wrong inside one element never hurts its neighbours.
//!
//! Only the structure is read here: strings, brackets, commas. Whether an element is JSON is judged later, by itself.

use memchr::memchr2;

/// One element of a body, cut out.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// Its bytes, without the blanks around it.
    pub raw: &'a [u8],
    /// Where it begins in the body.
    pub offset: usize,
}

/// Why a body cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes from the beginning of the body.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Splits an array into its elements, or gives the one value that there is. A byte order mark, blanks and one trailing
/// comma are tolerated; the flag tells of the comma.
///
/// # Errors
/// [`Fault`] where the structure does not hold.
pub fn split(body: &[u8]) -> Result<(Vec<Slice<'_>>, bool), Fault> {
    let mut scan = Scan { body, at: if body.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }, open: Vec::new() };
    scan.skip_blanks();
    let (slices, comma) = match scan.peek() {
        None => return Err(scan.fault("there is nothing")),
        Some(b'[') => scan.array()?,
        Some(_) => (vec![scan.value(false)?], false),
    };
    scan.skip_blanks();
    if scan.at < body.len() {
        return Err(scan.fault("something follows the value"));
    }
    Ok((slices, comma))
}

/// Line and column of an offset, both counted from 1; the column in bytes.
pub fn place(body: &[u8], offset: usize) -> (usize, usize) {
    let before = &body[..offset.min(body.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    (memchr::memchr_iter(b'\n', before).count() + 1, before.len() - line_start + 1)
}

/// JSON's white space.
pub const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Scan<'a> {
    body: &'a [u8],
    at: usize,
    open: Vec<u8>,
}

impl<'a> Scan<'a> {
    fn array(&mut self) -> Result<(Vec<Slice<'a>>, bool), Fault> {
        self.at += 1;
        let mut slices = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return Err(self.fault("the array is not closed")),
                Some(b']') => {
                    self.at += 1;
                    let comma = !slices.is_empty();
                    return Ok((slices, comma));
                }
                Some(b',') => return Err(self.fault("a value is missing")),
                Some(_) => slices.push(self.value(true)?),
            }
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok((slices, false));
                }
                Some(_) => return Err(self.fault("a comma or the end of the array is missing")),
                None => return Err(self.fault("the array is not closed")),
            }
        }
    }

    /// One value: up to its last bracket, or, for anything else, up to what may follow a value.
    fn value(&mut self, in_array: bool) -> Result<Slice<'a>, Fault> {
        let start = self.at;
        self.open.clear();
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    self.open.push(byte + 2); // the closing bracket, in ASCII
                    self.at += 1;
                }
                b'}' | b']' => {
                    match self.open.pop() {
                        Some(closing) if closing == byte => {}
                        None if in_array && byte == b']' => break,
                        _ => return Err(self.fault("a bracket closes what it did not open")),
                    }
                    self.at += 1;
                    if self.open.is_empty() {
                        break;
                    }
                }
                b',' if self.open.is_empty() => break,
                _ if self.open.is_empty() && is_blank(byte) => break,
                _ => self.at += 1,
            }
        }
        if !self.open.is_empty() {
            return Err(self.fault("a bracket is not closed"));
        }
        Ok(Slice { raw: &self.body[start..self.at], offset: start })
    }

    fn string(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        while let Some(found) = memchr2(b'"', b'\\', &self.body[self.at..]) {
            self.at += found;
            if self.body[self.at] == b'"' {
                self.at += 1;
                return Ok(());
            }
            self.at = (self.at + 2).min(self.body.len());
        }
        Err(Fault { offset: start, what: "a string is not closed" })
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    const fn fault(&self, what: &'static str) -> Fault {
        Fault { offset: self.at, what }
    }
}
