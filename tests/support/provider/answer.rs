//! What an endpoint answers, and how: at once, late, slowly, cut short or without end.

use std::{
    io::{self, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::super::http::Fields;

/// Longest sleep between two looks at whether the provider is stopping.
const NAP: Duration = Duration::from_millis(20);

/// Where an answer breaks off; the connection is then closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not a byte of the answer is sent.
    BeforeHead,
    /// The head and half of the body are sent.
    InBody,
}

/// An answer and the manner of giving it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    headers: Fields,
    body: Vec<u8>,
    /// Whether the request is processed and answered as if nothing was scripted; then only the manner counts.
    pub(super) usual: bool,
    times: usize,
    delay: Duration,
    drip: Option<(usize, Duration)>,
    cut: Option<Cut>,
}

impl Answer {
    /// An answer with a body of the given type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        let (usual, times, delay) = (false, 1, Duration::ZERO);
        Answer { status, headers, body: body.into(), usual, times, delay, drip: None, cut: None }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Answer {
        Answer::new(status, "application/json", body.to_string()).header("Cache-Control", "no-store")
    }

    /// An error answer of RFC 6749 s5.2.
    pub fn error(status: u16, error: &str, description: &str) -> Answer {
        Answer::json(status, &json!({ "error": error, "error_description": description }))
    }

    /// An HTML page.
    pub fn html(status: u16, body: &str) -> Answer {
        Answer::new(status, "text/html; charset=utf-8", body)
            .header("Cache-Control", "no-store")
            .header("Referrer-Policy", "no-referrer")
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Answer {
        Answer::new(status, "text/plain", "").header("Location", location)
    }

    /// The endpoint's own answer, processed as always: to be delayed, dripped or cut.
    pub fn usual() -> Answer {
        Answer { usual: true, ..Answer::new(0, "", "") }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the first byte.
    pub fn delayed(self, delay: Duration) -> Answer {
        Answer { delay, ..self }
    }

    /// Sends `bytes` bytes at a time with a pause between them.
    pub fn dripped(self, bytes: usize, pause: Duration) -> Answer {
        Answer { drip: Some((bytes.max(1), pause)), ..self }
    }

    /// Sends the body so many times over.
    pub fn repeated(self, times: usize) -> Answer {
        Answer { times, ..self }
    }

    /// Breaks off and closes the connection.
    pub fn cut(self, cut: Cut) -> Answer {
        Answer { cut: Some(cut), ..self }
    }

    /// This answer's content in the manner of `other`.
    pub(super) fn in_manner_of(self, other: &Answer) -> Answer {
        Answer { times: other.times, delay: other.delay, drip: other.drip, cut: other.cut, ..self }
    }

    /// Sends the answer; gives up where the other side is gone or `is_stopping` turns true.
    pub(super) fn write(&self, stream: &mut TcpStream, is_stopping: impl Fn() -> bool) -> io::Result<()> {
        wait(self.delay, &is_stopping)?;
        if self.cut == Some(Cut::BeforeHead) {
            return Ok(());
        }
        let mut bytes = self.head().into_bytes();
        if self.cut == Some(Cut::InBody) {
            bytes.extend(&self.body[..self.body.len() / 2]);
            return stream.write_all(&bytes);
        }
        bytes.extend(&self.body);
        let Some((length, pause)) = self.drip else {
            stream.write_all(&bytes)?;
            for _ in 1..self.times {
                stream.write_all(&self.body)?;
            }
            return Ok(());
        };
        stream.set_nodelay(true)?;
        for chunk in bytes.chunks(length) {
            stream.write_all(chunk)?;
            wait(pause, &is_stopping)?;
        }
        Ok(())
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.body.len() * self.times;
        head + &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n")
    }
}

fn wait(time: Duration, is_stopping: &impl Fn() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        if is_stopping() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        thread::sleep(left.min(NAP));
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}
