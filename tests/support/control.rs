//! A client of the control socket that is quicker than a process: one connection, JSON lines, thousands of requests.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::{Value, json};

use super::PATIENCE;

/// One connection to the control socket.
pub struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects; panics where nobody listens.
    #[track_caller]
    pub fn connect(socket: &Path) -> Control {
        Control::open(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()))
    }

    /// Whether a server answers there. To be connected is not enough: a killed server's child has its listener too,
    /// until it becomes another program.
    pub fn is_answered(socket: &Path) -> bool {
        let Ok(mut control) = Control::open(socket) else { return false };
        control.send(b"{\"version\":1,\"request\":\"info\"}\n") && control.answer().is_some()
    }

    fn open(socket: &Path) -> io::Result<Control> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Control { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are; what the server does not want to read is no failure.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Says that no more will come.
    pub fn shutdown_write(&mut self) {
        let _ = self.stream.get_mut().shutdown(Shutdown::Write);
    }

    /// The next line, a notice or an answer; `None` at the end of input.
    pub fn line(&mut self) -> Option<Value> {
        self.raw_line().map(|line| serde_json::from_str(&line).expect("a line of JSON"))
    }

    /// The next line as it is; `None` at the end of input.
    pub fn raw_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|length| *length > 0).map(|_| line)
    }

    /// The next answer, notices passed over; `None` at the end of input.
    pub fn answer(&mut self) -> Option<Value> {
        loop {
            let line = self.line()?;
            if line.get("notice").is_none() {
                return Some(line);
            }
        }
    }

    /// Asks `request` of `account` and returns the answer; panics where there is none.
    #[track_caller]
    pub fn ask(&mut self, request: &str, account: &str) -> Value {
        let line = json!({ "version": 1, "request": request, "account": account });
        assert!(self.send(format!("{line}\n").as_bytes()), "{request}: the server reads no more");
        self.answer().unwrap_or_else(|| panic!("no answer to {request}"))
    }

    /// The token that `show` gives, if it gives one.
    #[track_caller]
    pub fn token(&mut self, account: &str) -> Option<String> {
        let answer = self.ask("show", account);
        answer["access_token"].as_str().map(str::to_owned)
    }

    /// The URL where `show` sends the user; panics where it does not.
    #[track_caller]
    pub fn authorization_url(&mut self, account: &str) -> String {
        let answer = self.ask("show", account);
        let message = answer["messages"][0].as_str().unwrap_or_default();
        let url = message.split_once("until authorised with URL ").map(|(_, url)| url.to_owned());
        url.unwrap_or_else(|| panic!("no URL in {answer}"))
    }

    /// Whether the server closes the connection, and has nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        self.answer().is_none()
    }
}
