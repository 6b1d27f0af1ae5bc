//! A real browser: Chromium without a window and with an empty profile, driven over a pair of pipes by the DevTools
//! protocol: JSON messages that end with NUL, each command with a running number that its answer repeats.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Instant,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    PATIENCE, eventually,
    folder::Folder,
    process::{living_in, signal},
    tool,
};

/// What the browser must not do: ask anybody but loopback, or the person.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--remote-debugging-pipe",
];

/// The two ways a page can look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// A running browser; dropping it ends all of its processes.
pub struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    next_id: u64,
    folder: Folder,
}

/// One page (a tab) of it.
pub struct Tab<'a> {
    browser: &'a mut Browser,
    session: String,
}

impl Browser {
    /// Starts Chromium; `None`, and a line that says so, where there is none.
    pub fn start() -> Option<Browser> {
        Browser::start_with(&[], |_| ())
    }

    /// Starts Chromium with further flags, in a home that is `prepared` before.
    pub fn start_with(flags: &[&str], prepare: impl FnOnce(&Path)) -> Option<Browser> {
        let program = tool::find("chromium")?;
        let folder = Folder::new();
        let home = folder.make("home");
        prepare(&home);
        // The browser reads commands from descriptor 3 and writes messages to 4.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh"])
            .arg(program)
            .args(FLAGS)
            .args(flags);
        command.arg(format!("--user-data-dir={}", home.display())).arg("about:blank");
        command.env("HOME", &home).env("TMPDIR", folder.path());
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME").env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("no /bin/sh");
        let commands = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Some(Browser { child, commands, messages, next_id: 1, folder })
    }

    /// Opens an empty page.
    #[track_caller]
    pub fn open_tab(&mut self) -> Tab<'_> {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", attach);
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let mut tab = Tab { browser: self, session };
        tab.call("Page.enable", json!({}));
        tab
    }

    /// Sends a command and waits for its result; panics where it is an error.
    #[track_caller]
    fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        let id = self.send(session, method, params);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left);
            let mut message = message.unwrap_or_else(|error| panic!("the browser does not answer {method}: {error}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
        }
    }

    #[track_caller]
    fn send(&mut self, session: Option<&str>, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        let sent = self.commands.as_mut().expect("the pipe is open").write_all(format!("{command}\0").as_bytes());
        sent.unwrap_or_else(|error| panic!("the browser takes no {method}: {error}"));
        id
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its pipe is the browser's end.
        self.commands = None;
        let folder = self.folder.path();
        let is_gone = super::within(PATIENCE / 4, || self.child.try_wait().ok().flatten());
        if is_gone.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Some of its processes write over their environment: they are found by their group only.
        signal("KILL", -i64::from(self.child.id()));
        if !thread::panicking() {
            eventually("the end of all the browser's processes", || living_in(folder).is_empty());
        }
    }
}

impl Tab<'_> {
    /// Goes to `url`, and waits until the first part of its page has taken the place of what was there.
    #[track_caller]
    pub fn go(&mut self, url: &str) {
        let fault = self.try_to_go(url);
        assert_eq!(fault, None, "{url}");
    }

    /// Goes to `url`; the browser's name for the error, where it shows one.
    #[track_caller]
    pub fn try_to_go(&mut self, url: &str) -> Option<String> {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        gone["errorText"].as_str().map(str::to_owned)
    }

    /// Waits until an element is there, and clicks on its middle like a mouse.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let script = format!(
            "(() => {{ const found = document.querySelector({}); if (!found) return null;
               const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2] }})()",
            Value::from(selector)
        );
        let mut place = Value::Null;
        eventually(selector, || {
            place = self.evaluate(&script);
            place.is_array()
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.browser.send(Some(&self.session), "Input.dispatchMouseEvent", event);
        }
    }

    /// What a person can read on the page now.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let text = self.evaluate("document.body ? document.body.innerText : ''");
        text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits until the page's text contains `part`; panics with the text it had last.
    #[track_caller]
    pub fn wait_for_text(&mut self, part: &str) -> String {
        let mut text = String::new();
        let found = super::within(PATIENCE, || {
            text = self.text();
            text.contains(part).then_some(())
        });
        assert!(found.is_some(), "{part:?} never came on the page, only {text:?}");
        text
    }

    /// Whether the page is still being read.
    #[track_caller]
    pub fn is_loading(&mut self) -> bool {
        self.evaluate("document.readyState") == "loading"
    }

    /// The value of an expression; `null` while the page is between two documents.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", params)["result"]["value"].take()
    }

    /// Asks for the page in light or dark.
    #[track_caller]
    pub fn prefer(&mut self, scheme: Scheme) {
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Shows the page in a window of that size, in pixels.
    #[track_caller]
    pub fn resize(&mut self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Writes a picture of the page as PNG.
    #[track_caller]
    pub fn screenshot(&mut self, path: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = BASE64_STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("a picture");
        std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        let session = self.session.clone();
        self.browser.call(Some(&session), method, params)
    }
}
