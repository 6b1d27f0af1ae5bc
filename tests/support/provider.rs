//! The demo provider: an OAuth2 authorization server on loopback for tests, benches and the demo.
//!
//! It serves the authorization code grant with PKCE (RFC 6749, RFC 7636), refresh with rotation, client credentials,
//! the device grant (RFC 8628), revocation (RFC 7009), metadata (RFC 8414) and a resource, `/whoami`. It is strict
//! where pizauth has a duty, records every request, and can be told to misbehave. One thread a connection.

mod answer;
mod endpoints;
mod grants;
mod pages;

use std::{
    collections::{HashMap, VecDeque},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    PATIENCE,
    http::{Fields, Request},
};

pub use answer::{Answer, Cut};
pub use grants::{Counters, Issued};
use grants::{Grants, Requested};

/// Stack of a connection's thread, in bytes: hundreds of them may wait at once.
const STACK: usize = 256 * 1024;

/// How a client must authenticate at the token, device and revocation endpoints (RFC 6749 s2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// client_id and client_secret in the form; without a secret in the settings, client_id alone.
    Post,
    /// HTTP Basic, and no secret in the form.
    Basic,
}

/// What happens at the authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The user has agreed already: the answer is the redirect.
    Automatic,
    /// A page asks.
    Page,
    /// The user says no: the answer is a redirect with `access_denied`.
    Denied,
}

/// What a refresh does to the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It stays, and is not sent again.
    Off,
    /// It is replaced; using the old one revokes all of the family.
    Strict,
    /// It is replaced; the old one is honoured for that long.
    Grace(Duration),
}

/// The provider's behaviour; can be changed while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The client_ids that it knows; every one where the list is empty.
    pub client_ids: Vec<String>,
    /// The secret of each client; public clients where there is none.
    pub client_secret: Option<String>,
    pub client_auth: ClientAuth,
    pub approval: Approval,
    /// Life of an access token in seconds; not sent, and without end, where there is none.
    pub expires_in: Option<u64>,
    pub rotation: Rotation,
    /// Whether grants that a user decided come with a refresh token.
    pub refresh_tokens: bool,
    /// Whether redirects carry `iss` (RFC 9207).
    pub iss: bool,
    /// Further query fields of every redirect.
    pub redirect_fields: Fields,
    /// Fields that are added to a token answer, or take another's place there.
    pub token_fields: serde_json::Map<String, serde_json::Value>,
    /// Seconds between polls of the device grant; not sent where there is none.
    pub device_interval: Option<u64>,
    /// Life of a device code in seconds.
    pub device_expires_in: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            client_ids: Vec::new(),
            client_secret: Some("demo secret &=+/%".to_owned()),
            client_auth: ClientAuth::Post,
            approval: Approval::Automatic,
            expires_in: Some(3600),
            rotation: Rotation::Off,
            refresh_tokens: true,
            iss: false,
            redirect_fields: Vec::new(),
            token_fields: serde_json::Map::new(),
            device_interval: Some(1),
            device_expires_in: 600,
        }
    }
}

/// A running demo provider; dropping it stops it.
pub struct Provider {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Provider {
    /// Starts a provider on a free port of 127.0.0.1.
    pub fn start(settings: Settings) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = State {
            settings,
            is_stopping: false,
            gate: Gate::Open,
            scripted: HashMap::new(),
            standing: HashMap::new(),
            requests: Vec::new(),
            in_progress: 0,
            most_in_progress: 0,
            open_requests: HashMap::new(),
            grants: Grants::default(),
        };
        let shared = Arc::new(Shared { address, state: Mutex::new(state), changed: Condvar::new() });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&shared, &listener)
        });
        Provider { shared, acceptor: Some(acceptor) }
    }

    /// The provider's own identifier, which is also the base of its URLs.
    pub fn issuer(&self) -> String {
        self.shared.issuer()
    }

    /// The URL of one of its paths, `/token` for example.
    pub fn url(&self, path: &str) -> String {
        self.shared.issuer() + path
    }

    /// An account block of pizauth.conf for this provider: authorization code grant, client_id equal to `name`, and
    /// `options` as further lines.
    pub fn account(&self, name: &str, options: &str) -> String {
        let secret = self.shared.lock().settings.client_secret.clone();
        let secret = secret.map_or_else(String::new, |secret| format!("    client_secret = {};\n", quote(&secret)));
        format!(
            "account {} {{\n    auth_uri = {};\n    token_uri = {};\n    client_id = {};\n{secret}    {options}\n}}\n",
            quote(name),
            quote(&self.url("/authorize")),
            quote(&self.url("/token")),
            quote(name),
        )
    }

    /// Changes the behaviour from the next request on.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.shared.lock().settings);
    }

    /// Scripts the answer to the next token request that has none yet; repeated calls queue.
    pub fn next_token_answer(&self, answer: Answer) {
        self.next_answer("/token", answer);
    }

    /// Scripts the answer to the next request for `path` that has none yet; repeated calls queue.
    pub fn next_answer(&self, path: &str, answer: Answer) {
        self.shared.lock().scripted.entry(path.to_owned()).or_default().push_back(answer);
    }

    /// Gives `answer` to every request for `path` that has no scripted one, until it is `None` again.
    pub fn always_answer(&self, path: &str, answer: Option<Answer>) {
        let mut state = self.shared.lock();
        match answer {
            Some(answer) => state.standing.insert(path.to_owned(), answer),
            None => state.standing.remove(path),
        };
    }

    /// Closes the gate: token requests are recorded, but neither processed nor answered.
    pub fn hold(&self) {
        self.shared.lock().gate = Gate::Closed { passes: 0 };
    }

    /// Lets one token request through the closed gate.
    pub fn release_one(&self) {
        if let Gate::Closed { passes } = &mut self.shared.lock().gate {
            *passes += 1;
        }
        self.shared.changed.notify_all();
    }

    /// Opens the gate.
    pub fn release(&self) {
        self.shared.lock().gate = Gate::Open;
        self.shared.changed.notify_all();
    }

    /// Waits until the token endpoint has received `count` requests since the start; panics after [`PATIENCE`].
    #[track_caller]
    pub fn wait_for_token_requests(&self, count: usize) {
        self.wait_for_requests("/token", count);
    }

    /// Waits until `path` has received `count` requests since the start; panics after [`PATIENCE`].
    #[track_caller]
    pub fn wait_for_requests(&self, path: &str, count: usize) {
        let what = format!("{count} requests for {path}");
        self.wait_for(&what, |state| state.requests.iter().filter(|request| request.path == path).count() >= count);
    }

    /// Waits until `count` answers with tokens were made since the start; panics after [`PATIENCE`].
    #[track_caller]
    pub fn wait_for_issued(&self, count: usize) {
        self.wait_for(&format!("{count} token answers"), |state| state.grants.issued.len() >= count);
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// The token requests so far, those for device polls included.
    pub fn token_requests(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path == "/token").collect()
    }

    /// The token requests of one grant_type so far.
    pub fn token_requests_of(&self, grant_type: &str) -> Vec<Request> {
        self.token_requests().into_iter().filter(|request| request.form("grant_type") == Some(grant_type)).collect()
    }

    /// Everything that the token endpoint issued so far.
    pub fn issued(&self) -> Vec<Issued> {
        self.shared.lock().grants.issued.clone()
    }

    /// The access token that was issued last; panics where there is none.
    #[track_caller]
    pub fn last_access_token(&self) -> String {
        let state = self.shared.lock();
        let last = state.grants.issued.last().map(|issued| issued.access_token.clone());
        drop(state);
        last.expect("no token was issued")
    }

    /// The refresh token that the provider honours for a client's latest grant.
    pub fn current_refresh_token(&self, client_id: &str) -> Option<String> {
        self.shared.lock().grants.current_refresh_token(client_id)
    }

    /// Whether an access token is honoured now.
    pub fn is_honoured(&self, access_token: &str) -> bool {
        self.shared.lock().grants.bearer(access_token).is_some()
    }

    /// What has been used, reused and revoked so far.
    pub fn counters(&self) -> Counters {
        self.shared.lock().grants.counters
    }

    /// The most token requests that were under way at once.
    pub fn most_in_progress(&self) -> usize {
        self.shared.lock().most_in_progress
    }

    /// Token requests that are under way now, held ones included.
    pub fn in_progress(&self) -> usize {
        self.shared.lock().in_progress
    }

    /// Ends everything that a client was granted, as a user does in the provider's account page.
    pub fn revoke_client(&self, client_id: &str) {
        self.shared.lock().grants.revoke_client(client_id);
    }

    /// User codes of the device grant that wait for a decision, oldest first.
    pub fn pending_user_codes(&self) -> Vec<String> {
        self.shared.lock().grants.pending_user_codes()
    }

    /// Lets the user allow or deny a device; false where no such code waits.
    pub fn decide_device(&self, user_code: &str, is_allowed: bool) -> bool {
        self.shared.lock().grants.decide_device(user_code, is_allowed)
    }

    #[track_caller]
    fn wait_for(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while !condition(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; the provider has seen {:#?}", state.requests);
            state = self.shared.wait(state, left);
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shared.lock().is_stopping = true;
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.shared.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    settings: Settings,
    is_stopping: bool,
    gate: Gate,
    scripted: HashMap<String, VecDeque<Answer>>,
    standing: HashMap<String, Answer>,
    requests: Vec<Request>,
    in_progress: usize,
    most_in_progress: usize,
    /// Authorization requests whose consent page is open, by the number in its form.
    open_requests: HashMap<String, Requested>,
    grants: Grants,
}

enum Gate {
    Open,
    Closed { passes: usize },
}

impl Shared {
    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A failed assertion elsewhere must not hide behind a poisoned lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Records a request, waits at the gate, and decides on the answer.
    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.lock();
        state.requests.push(request.clone());
        self.changed.notify_all();
        if request.path == "/token" {
            state = self.pass_gate(state);
        }
        let scripted = state.scripted.get_mut(&request.path).and_then(VecDeque::pop_front);
        let scripted = scripted.or_else(|| state.standing.get(&request.path).cloned());
        let answer = match scripted {
            Some(answer) if !answer.usual => answer,
            Some(manner) => state.route(&self.issuer(), request).in_manner_of(&manner),
            None => state.route(&self.issuer(), request),
        };
        self.changed.notify_all();
        answer
    }

    fn pass_gate<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        loop {
            let is_stopping = state.is_stopping;
            match &mut state.gate {
                Gate::Open => return state,
                Gate::Closed { passes: 0 } if !is_stopping => (),
                Gate::Closed { passes } => {
                    *passes = passes.saturating_sub(1);
                    return state;
                }
            }
            state = self.wait(state, PATIENCE);
        }
    }
}

/// Counts a token request as under way for as long as it lives.
struct InProgress<'a>(&'a Shared);

impl InProgress<'_> {
    fn new(shared: &Shared) -> InProgress<'_> {
        let mut state = shared.lock();
        state.in_progress += 1;
        state.most_in_progress = state.most_in_progress.max(state.in_progress);
        InProgress(shared)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.lock().in_progress -= 1;
        self.0.changed.notify_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming() {
        if shared.lock().is_stopping {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || serve(&shared, stream));
    }
}

/// Serves the one request of a connection; whatever breaks, ends this connection only.
fn serve(shared: &Shared, mut stream: TcpStream) {
    let is_limited = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let Ok(()) = is_limited else { return };
    let Ok(Some(request)) = Request::read(&mut stream) else { return };
    let _in_progress = (request.path == "/token").then(|| InProgress::new(shared));
    let answer = shared.answer(&request);
    let _ = answer.write(&mut stream, || shared.lock().is_stopping);
}

/// A string as pizauth.conf writes it.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
