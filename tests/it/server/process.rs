//! The program as a process, and a small client.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::eventually;

/// Which database a server uses.
pub(super) enum Database {
    Sqlite,
    Postgres(String),
}

impl Database {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite
    }

    /// An empty database of its own on the test server; `None` (reported as skipped) without a test server.
    pub(super) async fn postgres() -> Option<Self> {
        crate::support::postgres::fresh_database().await.map(Self::Postgres)
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Sqlite => vec![],
            Self::Postgres(url) => vec![("SEMBLANCE_DATABASE_URL", url)],
        }
    }
}

/// A Postgres for one test alone, which may kill it: it is restarted whenever it dies.
pub(super) struct OwnPostgres {
    supervisor: Child,
    url: String,
    data: PathBuf,
}

impl OwnPostgres {
    /// `None` where the tests have no Postgres.
    pub(super) async fn start() -> Option<Self> {
        Database::postgres().await?;
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut supervisor = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres.py"))
            .args(["supervise", "--", "sh", "-c", "echo $SEMBLANCE_TEST_POSTGRES_URL; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let data = crate::support::postgres::data_directory(&url).await;
        Some(Self { supervisor, url, data })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// SIGKILL, if it is running.
    pub(super) fn kill(&self) {
        let Ok(file) = std::fs::read_to_string(self.data.join("postmaster.pid")) else { return };
        let Some(pid) = file.lines().next() else { return };
        let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take()); // ends its command; the supervisor cleans up
        let _ = self.supervisor.wait();
    }
}

pub(super) fn command(data: &Path, database: &Database) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SEMBLANCE_") {
            command.env_remove(name);
        }
    }
    command
        .env("SEMBLANCE_DATA", data)
        .env("SEMBLANCE_LISTEN", "127.0.0.1:0")
        .env("SEMBLANCE_ADMIN_LISTEN", "off") // its usual port is one server's only
        .env("SEMBLANCE_COMPUTE_INFERENCE_THREADS", "1")
        .env("SEMBLANCE_DATABASE_POLL_MS", "200")
        .env("SEMBLANCE_SERVER_DRAIN_S", "0")
        .env("SEMBLANCE_LOG_LEVEL", "error")
        .envs(database.environment())
        .stdin(Stdio::null());
    command
}

/// A running server and its data folder.
pub(super) struct Server {
    child: Child,
    url: String,
    operators: Option<String>,
    dir: Option<TempDir>,
}

impl Server {
    pub(super) async fn start(database: &Database) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), database, &[]).await
    }

    pub(super) async fn start_in(dir: TempDir, database: &Database, environment: &[(&str, &str)]) -> Self {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(dir.path().join("log")).unwrap();
        Self::start_with(dir, database, environment, log.into()).await
    }

    /// Starts a server and does not wait until it is ready, because it refuses the connections of this process.
    pub(super) fn start_unchecked(database: &Database, environment: &[(&str, &str)]) -> Self {
        Self::start_until_it_listens(tempfile::tempdir().unwrap(), database, environment, Stdio::inherit())
    }

    /// Starts a server whose log goes into a pipe that is not read until [`Server::read_log`].
    pub(super) async fn start_with_unread_log(database: &Database, environment: &[(&str, &str)]) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), database, environment, Stdio::piped()).await
    }

    /// Reads the pipe of [`Server::start_with_unread_log`] until the server ends.
    pub(super) fn read_log(&mut self) -> std::thread::JoinHandle<String> {
        let mut pipe = self.child.stderr.take().expect("the log goes into a pipe");
        std::thread::spawn(move || {
            let mut log = String::new();
            pipe.read_to_string(&mut log).unwrap();
            log
        })
    }

    async fn start_with(dir: TempDir, database: &Database, environment: &[(&str, &str)], log: Stdio) -> Self {
        let server = Self::start_until_it_listens(dir, database, environment, log);
        if server.url.starts_with("https") {
            return server; // the test that starts one knows its certificate
        }
        eventually("the server is ready", async || {
            reqwest_client().get(format!("{}/readyz", server.url)).send().await.is_ok_and(|r| r.status() == 200)
        })
        .await;
        server
    }

    fn start_until_it_listens(dir: TempDir, database: &Database, environment: &[(&str, &str)], log: Stdio) -> Self {
        let mut serve = command(dir.path(), database);
        if environment.iter().any(|(name, _)| *name == "SEMBLANCE_CONFIG") {
            serve.env_remove("SEMBLANCE_LOG_LEVEL"); // the configuration file has it
        }
        let mut child =
            serve.arg("serve").envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut operators = None;
        let url = loop {
            let line = lines.next().expect("the server ended before it served").unwrap();
            if let Some(console) = line.strip_prefix("Console and administration: ") {
                operators = console.strip_suffix("/console").map(str::to_owned);
            } else if let Some((_, url)) = line.split_once("serves ") {
                break url.to_owned();
            }
        };
        // The rest is read and dropped, or the server would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, operators, dir: Some(dir) }
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap()
    }

    /// Its current and its peak memory in MiB; `None` where the system does not report it.
    pub(super) fn memory(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let of = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? >> 10)
        };
        Some((of("VmRSS:")?, of("VmHWM:")?))
    }

    /// Lets the peak of [`Server::memory`] begin at the current memory; `false` where the system does not offer it.
    pub(super) fn reset_peak(&self) -> bool {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").is_ok()
    }

    /// The value of a metric, named with its labels.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let metrics = self.text("/metrics").await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is missing: {metrics}")).parse().unwrap()
    }

    pub(super) async fn text(&self, path: &str) -> String {
        reqwest_client().get(format!("{}{path}", self.url)).send().await.unwrap().text().await.unwrap()
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the operators' endpoints, if it is separate.
    pub(super) fn operators(&self) -> &str {
        self.operators.as_deref().expect("SEMBLANCE_ADMIN_LISTEN is not set")
    }

    /// SIGTERM: it finishes its requests, and ends with this code.
    pub(super) fn stop(&mut self) -> Option<i32> {
        self.terminate();
        self.code()
    }

    /// SIGTERM alone.
    pub(super) fn terminate(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// Waits for its end and returns its code.
    pub(super) fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn into_dir(mut self) -> TempDir {
        self.dir.take().unwrap()
    }

    pub(super) fn first_credentials(&self) -> (String, String) {
        credentials(&std::fs::read(self.dir().join("credentials.json")).unwrap())
    }

    /// Creates an application with the command line and waits until the server knows it.
    pub(super) async fn create_app(&self, name: &str, database: &Database) -> (String, String) {
        let made = credentials(self.command(database, &["app", "create", name, "--json"]).as_bytes());
        eventually("the server sees the application", async || self.app(made.clone()).get("templates").await.0 != 401)
            .await;
        made
    }

    pub(super) fn app(&self, credentials: (String, String)) -> App {
        App::at(&self.url, credentials)
    }

    /// Runs a command that may fail: its exit code and its error output.
    pub(super) fn try_command(&self, database: &Database, arguments: &[&str]) -> (Option<i32>, String) {
        let done = command(self.dir(), database).args(arguments).output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    }

    /// Runs a command on the same data and returns its output.
    pub(super) fn command(&self, database: &Database, arguments: &[&str]) -> String {
        let done = command(self.dir(), database).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a file has a text.
pub(super) async fn eventually_in_file(path: &Path, text: &str) {
    let name = path.display();
    eventually(&format!("{name} has {text:?}"), async || {
        std::fs::read_to_string(path).is_ok_and(|content| content.contains(text))
    })
    .await;
}

/// Starts a server that is expected to fail: its exit code and its error output.
pub(super) fn try_start(dir: &TempDir, database: &Database) -> (Option<i32>, String) {
    let mut child =
        command(dir.path(), database).arg("serve").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    (child.wait().unwrap().code(), message)
}

pub(super) fn credentials(json: &[u8]) -> (String, String) {
    let value: Value = serde_json::from_slice(json).unwrap();
    (value["app_id"].as_str().unwrap().to_owned(), value["app_key"].as_str().unwrap().to_owned())
}

pub(super) fn reqwest_client() -> reqwest::Client {
    crate::support::crypto();
    reqwest::Client::new()
}

/// A response with some of its headers.
pub(super) struct Whole {
    pub(super) status: u16,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    pub(super) body: Value,
}

/// One application's client.
pub(super) struct App {
    base: String,
    id: String,
    key: String,
}

impl App {
    /// A client of the server at this address.
    pub(super) fn at(url: &str, (id, key): (String, String)) -> Self {
        Self { base: format!("{url}/api/v1.0"), id, key }
    }

    pub(super) fn credentials(&self) -> (String, String) {
        (self.id.clone(), self.key.clone())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        self.try_send(request).await.unwrap()
    }

    /// Fails when the server is not running, or ends before its response is complete.
    async fn try_send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Value), reqwest::Error> {
        let reply = request.header("APP-ID", &self.id).header("APP-KEY", &self.key).send().await?;
        let status = reply.status().as_u16();
        Ok((status, reply.json().await?))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(reqwest_client().get(self.url(path))).await
    }

    pub(super) async fn send_delete(&self, path: &str) -> (u16, Value) {
        self.send(reqwest_client().delete(self.url(path))).await
    }

    pub(super) async fn delete(&self, id: &str) -> (u16, Value) {
        self.try_delete(id).await.unwrap()
    }

    pub(super) async fn try_delete(&self, id: &str) -> Result<(u16, Value), reqwest::Error> {
        let body = serde_json::json!({ "templateId": id });
        self.try_send(reqwest_client().post(self.url("delete")).json(&body)).await
    }

    pub(super) async fn post_photo(&self, path: &str, name: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        self.try_photo(path, name, fields).await.unwrap()
    }

    pub(super) async fn try_photo(
        &self,
        path: &str,
        name: &str,
        fields: &[(&str, &str)],
    ) -> Result<(u16, Value), reqwest::Error> {
        let form = fields
            .iter()
            .fold(Form::new().part("photo", part(photo(name))), |form, (k, v)| form.text(k.to_string(), v.to_string()));
        self.try_send(reqwest_client().post(self.url(path)).multipart(form)).await
    }

    /// A whole response with headers.
    pub(super) async fn try_photo_whole(&self, path: &str, name: &str, fields: &[(&str, &str)]) -> Whole {
        let form = fields
            .iter()
            .fold(Form::new().part("photo", part(photo(name))), |form, (k, v)| form.text(k.to_string(), v.to_string()));
        let request = reqwest_client().post(self.url(path)).multipart(form);
        let reply = request.header("APP-ID", &self.id).header("APP-KEY", &self.key).send().await.unwrap();
        let retry_after = reply.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
        Whole { status: reply.status().as_u16(), retry_after, body: reply.json().await.unwrap() }
    }

    /// Enrolls a photo, with an `Idempotency-Key` or without one. Returns the status, whether the reply is that of a
    /// request before, and the reply.
    pub(super) async fn try_add_with_key(
        &self,
        name: &str,
        key: Option<&str>,
    ) -> Result<(u16, bool, Value), reqwest::Error> {
        let form = Form::new().part("photo", part(photo(name)));
        let request = reqwest_client().post(self.url("add")).multipart(form);
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        let reply = request.header("APP-ID", &self.id).header("APP-KEY", &self.key).send().await?;
        let is_repeated = reply.headers().contains_key("idempotency-replayed");
        Ok((reply.status().as_u16(), is_repeated, reply.json().await?))
    }

    pub(super) async fn post_bytes(&self, path: &str, bytes: Vec<u8>) -> (u16, Value) {
        let part = Part::bytes(bytes).file_name("photo.bin");
        self.send(reqwest_client().post(self.url(path)).multipart(Form::new().part("photo", part))).await
    }

    pub(super) async fn verify(&self, path: &str, first: (&str, &str), second: (&str, &str)) -> (u16, Value) {
        let form =
            Form::new().part(first.0.to_owned(), part(photo(first.1))).part(second.0.to_owned(), part(photo(second.1)));
        self.send(reqwest_client().post(self.url(path)).multipart(form)).await
    }

    /// Like [`App::post_photo`], for a photo made by the test; with two photos, like [`App::verify`].
    pub(super) async fn post_photos(
        &self,
        path: &str,
        photos: &[(&str, Vec<u8>)],
        fields: &[(&str, &str)],
    ) -> (u16, Value) {
        let form =
            photos.iter().fold(Form::new(), |form, (field, bytes)| form.part(field.to_string(), part(bytes.clone())));
        let form = fields.iter().fold(form, |form, (k, v)| form.text(k.to_string(), v.to_string()));
        self.send(reqwest_client().post(self.url(path)).multipart(form)).await
    }

    pub(super) async fn add(&self, name: &str, fields: &[(&str, &str)]) -> Value {
        let (status, reply) = self.post_photo("add", name, fields).await;
        assert_eq!(status, 200, "{reply}");
        reply
    }

    pub(super) async fn identify(&self, name: &str) -> Value {
        let (status, reply) = self.post_photo("identify", name, &[]).await;
        assert_eq!(status, 200, "{reply}");
        reply
    }
}

fn part(bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name("image.jpg").mime_str("image/jpeg").unwrap()
}

/// One of the six test photos that the set-up fetched.
pub(super) fn photo_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/photos").join(name)
}

pub(super) fn photo(name: &str) -> Vec<u8> {
    let path = photo_path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", path.display()))
}

pub(super) fn decode(name: &str) -> image::RgbImage {
    image::ImageReader::open(photo_path(name)).unwrap().decode().unwrap().to_rgb8()
}

pub(super) fn png(image: &image::RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
