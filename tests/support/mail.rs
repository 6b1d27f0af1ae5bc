//! A mail server on loopback that lets in by SASL XOAUTH2 and OAUTHBEARER (RFC 7628): IMAP and SMTP as far as a
//! client needs them to log in, list its folders and send a mail.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::PATIENCE;

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Imap,
    Smtp,
}

/// A login that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub mechanism: String,
    pub user: String,
    pub token: String,
}

/// A running mail server. It ends with the test's process.
pub struct MailServer {
    address: SocketAddr,
    logins: Arc<Mutex<Vec<Login>>>,
}

impl MailServer {
    /// Starts a server that offers `mechanisms`, separated by blanks, and lets `user` in with `token`.
    pub fn start(protocol: Protocol, mechanisms: &str, user: &str, token: &str) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let logins = Arc::new(Mutex::new(Vec::new()));
        let (shared, owner) = (Arc::clone(&logins), (user.to_owned(), token.to_owned()));
        let mechanisms = mechanisms.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, owner, mechanisms) = (Arc::clone(&shared), owner.clone(), mechanisms.clone());
                thread::spawn(move || {
                    let lets_in = |login: Login| {
                        let is_owner = (&login.user, &login.token) == (&owner.0, &owner.1);
                        shared.lock().expect("nobody panics").push(login);
                        is_owner
                    };
                    let session = Session { lines: BufReader::new(stream), mechanisms, lets_in };
                    match protocol {
                        Protocol::Imap => session.imap(),
                        Protocol::Smtp => session.smtp(),
                    }
                });
            }
        });
        MailServer { address, logins }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The logins since the last call.
    pub fn take_logins(&self) -> Vec<Login> {
        std::mem::take(&mut self.logins.lock().expect("nobody panics"))
    }

    /// Sends lines as a client does, and returns what comes until the server closes.
    pub fn talk(&self, lines: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.write_all(lines.as_bytes()).expect("the server reads");
        io::read_to_string(stream).expect("the server's answers")
    }
}

struct Session<F> {
    lines: BufReader<TcpStream>,
    mechanisms: String,
    lets_in: F,
}

impl<F: Fn(Login) -> bool> Session<F> {
    fn imap(mut self) -> Option<()> {
        let capability = format!("CAPABILITY IMAP4rev1 SASL-IR AUTH={}", self.mechanisms.replace(' ', " AUTH="));
        self.say(&format!("* OK [{capability}] ready"))?;
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            let (tag, command) = (words.next()?.to_owned(), words.next()?.to_ascii_uppercase());
            match command.as_str() {
                "CAPABILITY" => self.say(&format!("* {capability}"))?,
                "AUTHENTICATE" => {
                    let mechanism = words.next()?.to_owned();
                    let response = match words.next() {
                        Some(response) => response.to_owned(),
                        None => self.ask("+ ")?,
                    };
                    if !self.judge(&mechanism, &response) {
                        // The reason as a challenge, which the client answers before the server says no.
                        self.ask("+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=")?;
                        self.say(&format!("{tag} NO [AUTHENTICATIONFAILED] no"))?;
                        continue;
                    }
                }
                "LIST" => self.say("* LIST () \"/\" INBOX")?,
                "LOGOUT" => self.say("* BYE")?,
                _ => {}
            }
            self.say(&format!("{tag} OK done"))?;
            if command == "LOGOUT" {
                return Some(());
            }
        }
    }

    fn smtp(mut self) -> Option<()> {
        self.say("220 mail.example ready")?;
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            match words.next()?.to_ascii_uppercase().as_str() {
                "EHLO" => self.say(&format!("250-mail.example\r\n250 AUTH {}", self.mechanisms))?,
                "AUTH" => {
                    let mechanism = words.next()?.to_owned();
                    let response = match words.next() {
                        Some(response) => response.to_owned(),
                        None => self.ask("334 ")?,
                    };
                    match self.judge(&mechanism, &response) {
                        true => self.say("235 2.7.0 welcome")?,
                        false => {
                            self.ask("334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=")?;
                            self.say("535 5.7.8 no")?;
                        }
                    }
                }
                "DATA" => {
                    self.say("354 go on")?;
                    while self.line()? != "." {}
                    self.say("250 2.0.0 taken")?;
                }
                "QUIT" => {
                    self.say("221 bye")?;
                    return Some(());
                }
                _ => self.say("250 done")?,
            }
        }
    }

    fn judge(&self, mechanism: &str, response: &str) -> bool {
        read_response(mechanism, response).is_some_and(|login| (self.lets_in)(login))
    }

    fn ask(&mut self, challenge: &str) -> Option<String> {
        self.say(challenge)?;
        self.line()
    }

    fn say(&mut self, line: &str) -> Option<()> {
        self.lines.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).ok()?;
        (count > 0).then(|| line.trim_end().to_owned())
    }
}

/// Reads an initial response strictly; `None` where it is not of its mechanism.
fn read_response(mechanism: &str, response: &str) -> Option<Login> {
    let response = String::from_utf8(BASE64_STANDARD.decode(response).ok()?).ok()?;
    let mut fields = response.strip_suffix("\x01\x01")?.split('\x01');
    let first = fields.next()?;
    let (user, mechanism) = match mechanism.to_ascii_uppercase().as_str() {
        "XOAUTH2" => (first.strip_prefix("user=")?.to_owned(), "XOAUTH2"),
        "OAUTHBEARER" => {
            let name = first.strip_prefix("n,a=")?.strip_suffix(',')?;
            // The saslname of RFC 5801 s4.
            let is_escaped = !name.contains(',') && name.split('=').skip(1).all(|rest| rest.starts_with(['2', '3']));
            (is_escaped.then(|| name.replace("=2C", ",").replace("=3D", "="))?, "OAUTHBEARER")
        }
        _ => return None,
    };
    let fields: Vec<_> = fields.map(|field| field.split_once('=')).collect::<Option<_>>()?;
    let token = fields.iter().find_map(|(name, value)| (*name == "auth").then(|| value.strip_prefix("Bearer ")))??;
    Some(Login { mechanism: mechanism.to_owned(), user, token: token.to_owned() })
}
