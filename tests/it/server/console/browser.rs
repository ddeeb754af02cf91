//! A headless Chromium, driven over the DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::support::skipped;

/// Longest time to wait for what a page must become.
const WAIT: Duration = Duration::from_secs(60);

/// Time between two looks at a page.
const PAUSE: Duration = Duration::from_millis(50);

const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Switches that keep the browser on this machine and working as root.
const SWITCHES: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--remote-debugging-port=0",
];

/// A browser of its own, with an empty profile.
pub(super) struct Browser {
    child: Child,
    host: String,
    path: String,
    _profile: TempDir,
}

impl Browser {
    /// `None` (reported as skipped) where no browser or no axe-core is installed.
    pub(super) fn start(check: &str) -> Option<Self> {
        Self::start_with(check, &[])
    }

    /// With more switches.
    pub(super) fn start_with(check: &str, switches: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            skipped(check, "no Chromium is installed");
            return None;
        };
        if !axe_file().is_file() {
            skipped(check, "axe-core was not fetched (scripts/setup.py --with-tests)");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .args(SWITCHES)
            .args(switches)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the browser ended before it listened").unwrap();
            if let Some((_, address)) = line.split_once("DevTools listening on ws://") {
                break address.to_owned();
            }
        };
        // The rest is read and dropped, or the browser would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let (host, path) = address.split_once('/').unwrap();
        Some(Self { child, host: host.to_owned(), path: path.to_owned(), _profile: profile })
    }

    /// A tab with cookies and storage of its own, at the pages of a server.
    pub(super) fn tab(&self, base: &str) -> Tab {
        let stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{}/{}", self.host, self.path), stream).unwrap();
        let mut tab =
            Tab { socket, session: None, next: 0, problems: Vec::new(), base: base.to_owned(), name: String::new() };
        let context = tab.call("Target.createBrowserContext", json!({ "disposeOnDetach": true }));
        let target = tab.call(
            "Target.createTarget",
            json!({ "url": "about:blank", "browserContextId": context["browserContextId"] }),
        );
        let attached = tab.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        tab.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.size(1280, 800);
        tab
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let installed = || {
        PROGRAMS
            .iter()
            .find_map(|name| std::env::split_paths(&folders).map(|dir| dir.join(name)).find(|path| path.is_file()))
    };
    named.or_else(installed)
}

fn axe_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/axe/axe.min.js")
}

/// One tab.
pub(super) struct Tab {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    next: u64,
    /// Errors of the console, exceptions and violations of the content security policy.
    problems: Vec<String>,
    base: String,
    name: String,
}

impl Tab {
    /// One command of the protocol, which succeeds.
    pub(super) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.attempt(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// One command of the protocol: its result, or its error.
    fn attempt(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.next += 1;
        let id = self.next;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(command.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == id {
                return match message.get_mut("error") {
                    Some(error) => Err(error.take()),
                    None => Ok(message["result"].take()),
                };
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let event = &message["params"];
        let problem = match message["method"].as_str() {
            Some("Log.entryAdded") if event["entry"]["level"] == "error" => {
                // The question whether a session exists is answered with 401 where none does.
                let url = event["entry"]["url"].as_str().unwrap_or_default();
                if url.ends_with("/api/admin/v1/session") {
                    return;
                }
                format!("{} {url}", event["entry"]["text"])
            }
            Some("Runtime.exceptionThrown") => event["exceptionDetails"].to_string(),
            Some("Runtime.consoleAPICalled") if ["error", "assert"].contains(&event["type"].as_str().unwrap()) => {
                event["args"].to_string()
            }
            _ => return,
        };
        self.problems.push(format!("{}: {problem}", self.name));
    }

    /// What went wrong in the page since the last call.
    pub(super) fn problems(&mut self) -> Vec<String> {
        self.eval("null"); // what was reported before its answer has arrived
        std::mem::take(&mut self.problems)
    }

    /// Asserts that no error and no violation was reported.
    pub(super) fn is_clean(&mut self) {
        assert_eq!(self.problems(), Vec::<String>::new());
    }

    /// Evaluates an expression in the page and waits for its promise. One that leads to another page may have no answer, since
    /// the page that would give it is gone: null.
    pub(super) fn eval(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let mut answer = match self.attempt("Runtime.evaluate", parameters) {
            Err(error) if error["message"] == "Inspected target navigated or closed" => return Value::Null,
            answer => answer.unwrap_or_else(|error| panic!("{expression}: {error}")),
        };
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(super) fn until(&mut self, expression: &str) {
        let end = Instant::now() + WAIT;
        while self.eval(&format!("Boolean({expression})")) != true {
            if Instant::now() > end {
                let text = self.eval("document.body?.innerText");
                panic!("{}: not true: {expression}\n{text}\n{:?}", self.name, self.problems);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the page shows a text.
    pub(super) fn shows(&mut self, text: &str) {
        self.until(&format!("document.body?.innerText.includes({})", json!(text)));
    }

    /// Loads a page of the console from the server and waits until it is drawn.
    pub(super) fn open(&mut self, path: &str) {
        self.name = path.to_owned();
        let url = format!("{}{path}", self.base);
        self.call("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete' && document.querySelector('h1, h3')");
        self.settled();
    }

    /// Waits until nothing loads.
    pub(super) fn settled(&mut self) {
        self.until("!document.querySelector('[aria-busy=true], .skeleton')");
    }

    /// Clicks the visible button, link or summary with this text or name.
    pub(super) fn click(&mut self, text: &str) {
        let find = format!(
            "(() => {{ const root = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
               return [...root.querySelectorAll('button, a, summary')].find((node) => node.checkVisibility() && !node.disabled
                 && (node.innerText.trim() === {text} || node.getAttribute('aria-label') === {text})); }})()",
            text = json!(text)
        );
        self.until(&find);
        self.eval(&format!("{find}.click()"));
    }

    /// Gives the field with this label a value, as a person would.
    pub(super) fn fill(&mut self, label: &str, value: &str) {
        let find = format!(
            "(() => {{ const root = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
               const label = [...root.querySelectorAll('label')].find((node) => node.innerText.trim() === {});
               return label && document.getElementById(label.htmlFor); }})()",
            json!(label)
        );
        self.until(&find);
        self.eval(&format!(
            "{{ const input = {find}; input.value = {}; input.dispatchEvent(new Event('input', {{ bubbles: true }}));
               input.dispatchEvent(new Event('change', {{ bubbles: true }})); }}",
            json!(value)
        ));
    }

    /// Chooses files in the first field for files that a selector finds, as a person would.
    pub(super) fn choose(&mut self, selector: &str, files: &[&Path]) {
        self.until(&format!("document.querySelector({})", json!(selector)));
        let found = json!({ "expression": format!("document.querySelector({})", json!(selector)) });
        let object = self.call("Runtime.evaluate", found)["result"]["objectId"].take();
        self.call("DOM.setFileInputFiles", json!({ "objectId": object, "files": files }));
    }

    /// Presses a key, such as `Tab` or `/`.
    pub(super) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "ArrowDown" => (40, ""),
            "Escape" => (27, ""),
            " " => (32, " "),
            other => (0, other),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into what has the focus.
    pub(super) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses Tab until the element with this text or name has the focus.
    pub(super) fn tab_to(&mut self, text: &str) {
        for _ in 0..80 {
            self.press("Tab");
            let name = self.eval(
                "(() => { const node = document.activeElement; const label = node.labels?.[0]?.innerText;
                   return (label ?? node.getAttribute('aria-label') ?? node.innerText ?? '').trim(); })()",
            );
            if name == text {
                let ring = self.eval(
                    "getComputedStyle(document.activeElement).outlineStyle !== 'none' \
                                      || getComputedStyle(document.activeElement, '::after').outlineStyle !== 'none'",
                );
                assert_eq!(ring, true, "{text} shows no focus ring");
                return;
            }
        }
        panic!("{}: Tab does not reach {text}", self.name);
    }

    /// The size of the window in CSS pixels.
    pub(super) fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// The theme of the system, "light" or "dark".
    pub(super) fn theme(&mut self, theme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }, { "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture of the window, for a person to look at: `target/console/NAME.png`.
    pub(super) fn picture(&mut self, name: &str) {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let png = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("console");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// The violations that axe-core finds in the page with the impact serious or critical.
    pub(super) fn violations(&mut self) -> Vec<String> {
        if self.eval("typeof axe") != "object" {
            let axe = std::fs::read_to_string(axe_file()).unwrap();
            self.eval(&format!("{axe}\n;null"));
        }
        let found = self.eval(
            "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
               .filter(({ impact }) => impact === 'serious' || impact === 'critical')
               .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`)))",
        );
        found.as_array().unwrap().iter().map(|text| format!("{}: {}", self.name, text.as_str().unwrap())).collect()
    }
}
