//! HTTP/1.1 as far as tests need it: a client that reads an answer bit by bit, and the parsing of requests and forms
//! that the demo provider uses. One request a connection, bodies by Content-Length or up to the end.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{PATIENCE, read_once};

/// Names and values in the order they came, repeats included.
pub type Fields = Vec<(String, String)>;

/// Longest request or answer head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Longest request body that the provider reads, in bytes.
const MAX_BODY: usize = 1024 * 1024;

const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Reads `application/x-www-form-urlencoded` text, a query or a body.
pub fn parse_form(text: &str) -> Fields {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Writes fields as `application/x-www-form-urlencoded` text.
pub fn encode_form<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, FORM).to_string();
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", encode(name.as_ref()), encode(value.as_ref())));
    pairs.collect::<Vec<_>>().join("&")
}

/// The first value of a field; names of headers are stored in lower case.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A query's fields, taken from a whole URL or a request target.
pub fn query(url: &str) -> Fields {
    let url = url.split('#').next().unwrap_or_default();
    url.split_once('?').map_or_else(Vec::new, |(_, query)| parse_form(query))
}

/// A request as the provider received it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// The target without its query.
    pub path: String,
    pub query: Fields,
    /// Names in lower case.
    pub headers: Fields,
    /// The body's fields where it is a form.
    pub form: Fields,
}

impl Request {
    /// Reads one request; `None` at the end of input or where it is malformed or too long.
    pub fn read(stream: &mut impl Read) -> io::Result<Option<Request>> {
        let Some((head, mut body)) = read_head(stream)? else { return Ok(None) };
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        if !parsed.parse(&head).is_ok_and(|status| status.is_complete()) {
            return Ok(None);
        }
        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        let (method, target) = (method.to_owned(), target.to_owned());
        let headers = lower_case(parsed.headers);
        let length = field(&headers, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if length > MAX_BODY {
            return Ok(None);
        }
        let mut rest = vec![0; length.saturating_sub(body.len())];
        stream.read_exact(&mut rest)?;
        body.extend(rest);
        let is_form =
            field(&headers, "content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form = if is_form { parse_form(&String::from_utf8_lossy(&body)) } else { Vec::new() };
        let path = target.split('?').next().unwrap_or_default().to_owned();
        Ok(Some(Request { method, path, query: query(&target), headers, form }))
    }

    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// A form field's first value.
    pub fn form(&self, name: &str) -> Option<&str> {
        field(&self.form, name)
    }

    /// A query field's first value.
    pub fn query(&self, name: &str) -> Option<&str> {
        field(&self.query, name)
    }
}

/// An answer that is read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Fields,
    pub body: String,
}

impl Response {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// The body as JSON; panics with the body where it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// An answer whose head has come and whose body may still be coming.
pub struct Exchange {
    stream: TcpStream,
    pub status: u16,
    /// Names in lower case.
    pub headers: Fields,
    body: Vec<u8>,
}

impl Exchange {
    /// Connects to `authority`, sends `request` as it is and reads the answer's head.
    pub fn send(authority: &str, request: &[u8]) -> io::Result<Exchange> {
        let mut stream = connect(authority)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // The other side may answer and close before it has read everything.
        let sent = stream.write_all(request);
        let Some((head, body)) = read_head(&mut stream)? else {
            sent?;
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before an answer's head was complete"));
        };
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let status = parsed.code.unwrap_or(0);
        let headers = lower_case(parsed.headers);
        Ok(Exchange { stream, status, headers, body })
    }

    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// Reads until `text` has come and returns the body so far; panics where it ends without.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        loop {
            let body = String::from_utf8_lossy(&self.body).into_owned();
            if body.contains(text) {
                return body;
            }
            let mut chunk = [0; 4096];
            match read_once(&mut self.stream, &mut chunk) {
                Ok(0) => panic!("{text:?} never came, only {body:?}"),
                Ok(length) => self.body.extend(&chunk[..length]),
                Err(error) => panic!("{error} while waiting for {text:?}, after {body:?}"),
            }
        }
    }

    /// Reads to the end.
    pub fn finish(mut self) -> io::Result<Response> {
        match self.header("content-length").and_then(|text| text.parse::<usize>().ok()) {
            Some(length) => {
                let mut rest = vec![0; length.saturating_sub(self.body.len())];
                self.stream.read_exact(&mut rest)?;
                self.body.extend(rest);
            }
            None => {
                self.stream.read_to_end(&mut self.body)?;
            }
        }
        let body = String::from_utf8_lossy(&self.body).into_owned();
        Ok(Response { status: self.status, headers: self.headers, body })
    }
}

/// GETs an `http` URL and returns as soon as the answer's head is there.
pub fn open(url: &str) -> io::Result<Exchange> {
    request("GET", url, &[], "")
}

/// GETs an `http` URL.
#[track_caller]
pub fn get(url: &str) -> Response {
    match open(url).and_then(Exchange::finish) {
        Ok(response) => response,
        Err(error) => panic!("GET {url}: {error}"),
    }
}

/// POSTs a form to an `http` URL.
#[track_caller]
pub fn post(url: &str, fields: &[(&str, &str)]) -> Response {
    match try_post(url, &[], fields) {
        Ok(response) => response,
        Err(error) => panic!("POST {url}: {error}"),
    }
}

/// POSTs a form with further headers; an answer cut short is an error.
pub fn try_post(url: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> io::Result<Response> {
    let mut headers = headers.to_vec();
    headers.push(("Content-Type", "application/x-www-form-urlencoded"));
    request("POST", url, &headers, &encode_form(fields)).and_then(Exchange::finish)
}

/// Opens an `http` URL like a browser: follows redirects, up to the page where they end.
pub fn browse(url: &str) -> io::Result<Exchange> {
    let mut url = url.to_owned();
    for _ in 0..10 {
        let exchange = open(&url)?;
        match exchange.header("location") {
            Some(location) if (300..400).contains(&exchange.status) => url = location.to_owned(),
            _ => return Ok(exchange),
        }
    }
    Err(io::Error::other("too many redirects"))
}

/// What a person reads on a page: its text without title, style and tags, with single blanks.
pub fn visible_text(html: &str) -> String {
    let mut rest = html;
    let mut text = String::new();
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let hidden = ["style", "title"].into_iter().find(|name| tag.starts_with(name));
        let end = hidden.map_or(">".to_owned(), |name| format!("</{name}>"));
        rest = tag.split_once(&end).map_or("", |(_, after)| after);
        text.push(' ');
    }
    text.push_str(rest);
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let text = entities.into_iter().fold(text, |text, (entity, plain)| text.replace(entity, plain));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sends a request to an `http` URL and returns as soon as the answer's head is there.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Exchange> {
    let (authority, target) = split(url)?;
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    Exchange::send(authority, format!("{text}\r\n{body}").as_bytes())
}

/// Splits an `http` URL into `host:port` and request target.
fn split(url: &str) -> io::Result<(&str, String)> {
    let url = url.split('#').next().unwrap_or_default();
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no http URL: {url}")));
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((authority, format!("{slash}{target}")))
}

/// Connects to `host:port`, port 80 where none is named, trying each of the host's addresses.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "host without address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads up to the empty line: the head, and what of the body came with it. `None` where it ends before.
fn read_head(stream: &mut impl Read) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = read_once(stream, &mut chunk)?;
        if length == 0 || bytes.len() + length > MAX_HEAD {
            return Ok(None);
        }
        let seen = bytes.len().saturating_sub(3);
        bytes.extend(&chunk[..length]);
        if let Some(end) = bytes[seen..].windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(seen + end + 4);
            return Ok(Some((bytes, body)));
        }
    }
}

fn lower_case(headers: &[httparse::Header]) -> Fields {
    let text = |value| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect()
}
