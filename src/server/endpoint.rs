//! Requests to providers' endpoints: blocking calls, each in a helper thread that lives as long as the call.
//!
//! [`super::wire`] makes the connection; ureq speaks HTTP/1.1 over it and does nothing else: no look-up, redirect,
//! proxy, pool or time-out of its own. Nothing of a call stays when it is over.

use std::{
    fmt,
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::{ClientConfig, client::Resumption, crypto::ring};
use ureq::{
    Agent, AsSendBody,
    config::{AutoHeaderValue, Config},
    http::{HeaderValue, Request, Response, Uri, header},
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use super::{
    proxy::{Peer, Proxy, ProxySettings},
    roots::Roots,
    wire::{Deadline, Wire},
};
use crate::{
    oauth::{Broken, Call, MAX_BODY, Reply, Stage},
    secret::Secret,
    sys::wipe,
};

/// Time for one request, from look-up to the last byte of the answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Stack of a helper thread, in bytes: a look-up and a TLS handshake use a fraction, name service modules may want
/// more. Pages that are not touched cost nothing.
pub(super) const STACK: usize = 512 * 1024;

/// Longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Longest URI and header fields of a call, in bytes: ureq must not find out halfway that they do not fit.
const MAX_REQUEST: usize = 8 * 1024;

/// Sends requests to endpoints, each through its proxy and trusting the same roots. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint(Arc<Settings>);

struct Settings {
    proxies: ProxySettings,
    roots: Roots,
    limit: Duration,
    /// Shared by the calls under way and gone with the last: it is made in microseconds and has some 20 KiB.
    tls: Mutex<Weak<ClientConfig>>,
}

impl Endpoint {
    /// Requests that use `proxies` and trust `roots`.
    pub fn new(proxies: ProxySettings, roots: Roots) -> Endpoint {
        Self::with_limit(proxies, roots, LIMIT)
    }

    fn with_limit(proxies: ProxySettings, roots: Roots, limit: Duration) -> Endpoint {
        Endpoint(Arc::new(Settings { proxies, roots, limit, tls: Mutex::default() }))
    }

    /// Sends `call` from a thread of its own, which is returned; `done` gets the outcome there, exactly once, and then
    /// the thread ends.
    ///
    /// Where no thread can be made, `done` is called at once, on this thread, with [`Stage::NotStarted`].
    pub fn send(
        &self,
        call: Call,
        done: impl FnOnce(Result<Reply, Broken>) + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        self.send_with_stack(STACK, call, done)
    }

    fn send_with_stack(
        &self,
        stack: usize,
        call: Call,
        done: impl FnOnce(Result<Reply, Broken>) + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        let endpoint = self.clone();
        // Owned by the closure: where the thread cannot be made, dropping the closure answers.
        let answer = Answer { done: Some(done), sent: Arc::default(), broke: "no thread could be started for it" };
        let run = move || {
            let mut answer = answer;
            answer.broke = "its helper thread broke down";
            let result = endpoint.perform(&call, &answer.sent);
            // The secrets in it are wiped before anybody learns that the call is over.
            drop((endpoint, call));
            wipe::stack();
            answer.give(result);
        };
        // An error here is told by the closure's drop.
        thread::Builder::new().name("endpoint".to_owned()).stack_size(stack).spawn(run).ok()
    }

    /// Sends `call` and waits for its outcome, on this thread.
    pub fn send_blocking(&self, call: &Call) -> Result<Reply, Broken> {
        self.perform(call, &Arc::default())
    }

    fn perform(&self, call: &Call, sent: &Arc<AtomicBool>) -> Result<Reply, Broken> {
        let deadline = Deadline::after(self.0.limit);
        let unusable = || not_started("the endpoint's URI is not an absolute http or https URI");
        let uri: Uri = call.uri.parse().map_err(|_| unusable())?;
        let target = Peer::of(&uri).ok_or_else(unusable)?;
        let proxy = self.0.proxies.choose(&uri)?;
        let tls = (uri.scheme_str() == Some("https")).then(|| self.tls_config());
        let tunnelled = tls.is_some();
        // A proxy gets plain http as a request of its own (RFC 9112 s3.2.2): tunnels to port 80 are rarely allowed.
        let forwarder = proxy.as_ref().filter(|_| !tunnelled);
        let request = build(call, uri, forwarder).ok_or_else(|| not_started("the request cannot be built"))?;

        let wire = Wire::open(&target, proxy.as_ref(), tls, deadline)?;
        let absolute = forwarder.map(|_| origin(request.uri()));
        // One byte more than a head may have, so that a longer one is seen to be so.
        let buffers = LazyBuffers::new(MAX_HEAD + 1, MAX_HEAD);
        let line = Line { wire, buffers, sent: sent.clone(), absolute };
        let agent = Agent::with_parts(config(), Handover(Mutex::new(Some(line))), NoLookup);
        let outcome = match &call.body {
            Some(body) => exchange(&agent, request.map(|()| body.expose().as_bytes())),
            None => exchange(&agent, request),
        };
        match (outcome, forwarder) {
            // It was written, though to the proxy alone: a code in it is not written once more.
            (Ok(reply), Some(proxy)) if reply.status == 407 => Err(Broken {
                stage: Stage::Sent,
                detail: format!("the proxy {} did not forward the request: status 407", proxy.peer),
            }),
            (Ok(reply), _) => Ok(reply),
            (Err(error), _) if !sent.load(Ordering::Relaxed) => {
                Err(not_started(&format!("the request cannot be sent: {}", clause(&error, &deadline))))
            }
            (Err(error), _) => {
                let through = proxy.map(|proxy| format!(" through the proxy {}", proxy.peer)).unwrap_or_default();
                let detail = format!("no whole answer from {target}{through}: {}", clause(&error, &deadline));
                Err(Broken { stage: Stage::Sent, detail })
            }
        }
    }

    fn tls_config(&self) -> Arc<ClientConfig> {
        let mut shared = self.0.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = shared.upgrade() {
            return config;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the algorithms of TLS 1.2 and 1.3")
            .with_root_certificates(self.0.roots.store())
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        *shared = Arc::downgrade(&config);
        config
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// The duty to answer a call once, whatever becomes of its thread.
struct Answer<F: FnOnce(Result<Reply, Broken>)> {
    done: Option<F>,
    sent: Arc<AtomicBool>,
    broke: &'static str,
}

impl<F: FnOnce(Result<Reply, Broken>)> Answer<F> {
    fn give(&mut self, result: Result<Reply, Broken>) {
        if let Some(done) = self.done.take() {
            done(result);
        }
    }
}

impl<F: FnOnce(Result<Reply, Broken>)> Drop for Answer<F> {
    fn drop(&mut self) {
        let stage = if self.sent.load(Ordering::Relaxed) { Stage::Sent } else { Stage::NotStarted };
        let broken = Broken { stage, detail: format!("the request was not answered: {}", self.broke) };
        // Where this runs because of a panic, a second one would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.give(Err(broken))));
    }
}

fn not_started(detail: &str) -> Broken {
    Broken { stage: Stage::NotStarted, detail: detail.to_owned() }
}

/// The request's head; `None` where a header field is malformed or all is too long. `forwarder` is the proxy that
/// gets it.
fn build(call: &Call, uri: Uri, forwarder: Option<&Proxy>) -> Option<Request<()>> {
    let length = |(name, value): &(String, Secret)| name.len() + value.expose().len();
    if call.uri.len() + call.headers.iter().map(length).sum::<usize>() > MAX_REQUEST {
        return None;
    }
    let method = if call.body.is_some() { "POST" } else { "GET" };
    let mut request = Request::builder().method(method).uri(uri).header(header::CONNECTION, "close");
    if call.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let authorization = forwarder.and_then(|proxy| proxy.authorization.as_ref());
    let fields = call.headers.iter().map(|(name, value)| (name.as_str(), value));
    for (name, value) in fields.chain(authorization.map(|value| ("Proxy-Authorization", value))) {
        let mut value = HeaderValue::from_str(value.expose()).ok()?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    request.body(()).ok()
}

fn config() -> Config {
    Config::builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(MAX_HEAD)
        .max_idle_connections(0)
        .user_agent(concat!("pizauth/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .accept_encoding(AutoHeaderValue::None)
        .build()
}

fn exchange(agent: &Agent, request: Request<impl AsSendBody>) -> Result<Reply, ureq::Error> {
    let mut response = agent.run(request)?;
    let body = response.body_mut().with_config().limit(MAX_BODY as u64).read_to_vec()?;
    let field = |name| text(&response, name);
    Ok(Reply {
        status: response.status().as_u16(),
        content_type: field(header::CONTENT_TYPE),
        retry_after: field(header::RETRY_AFTER),
        location: field(header::LOCATION),
        body: Secret::new(body),
    })
}

fn text<T>(response: &Response<T>, name: header::HeaderName) -> Option<String> {
    Some(String::from_utf8_lossy(response.headers().get(name)?.as_bytes()).into_owned())
}

/// Scheme, host and port of a URI as it writes them: what turns a request target into its absolute form.
fn origin(uri: &Uri) -> String {
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host_port)| host_port);
    format!("http://{host_port}")
}

/// What went wrong after the connection was made, in words of our own: an answer's text stays out of it.
fn clause(error: &ureq::Error, deadline: &Deadline) -> String {
    match error {
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => format!("it sent the TLS alert {alert:?}"),
            Some(_) => "it broke the TLS protocol".to_owned(),
            None => deadline.clause(error),
        },
        ureq::Error::BodyExceedsLimit(_) => "its body is longer than 1 MiB".to_owned(),
        ureq::Error::LargeResponseHeader(..) => "its head is longer than 16 KiB".to_owned(),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => "it is not HTTP".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}

/// The connection as ureq uses it.
struct Line {
    wire: Wire,
    buffers: LazyBuffers,
    /// Set before the first byte of the request is written.
    sent: Arc<AtomicBool>,
    /// What to put before the request target, until that is done.
    absolute: Option<String>,
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.sent.store(true, Ordering::Relaxed);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        match self.absolute.take() {
            Some(origin) => {
                // The first output begins with "METHOD /target".
                let target = output.iter().position(|byte| *byte == b'/').unwrap_or(0);
                let (method, rest) = output.split_at(target);
                let whole = Secret::new([method, origin.as_bytes(), rest].concat());
                self.wire.write_all(whole.expose())?;
            }
            None => self.wire.write_all(output)?,
        }
        Ok(self.wire.flush()?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let read = self.wire.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.wire.is_tls()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// Gives ureq the connection that is there already.
#[derive(Debug)]
struct Handover(Mutex<Option<Line>>);

impl Connector for Handover {
    type Out = Line;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Line>, ureq::Error> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).take())
    }
}

/// Looks nothing up: the connection is there already.
#[derive(Debug)]
struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

#[cfg(test)]
mod tests;
