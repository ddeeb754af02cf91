//! The files of the console: how they are served, and what the rules for them are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::{Answer, Server};

/// Most bytes of script and style of all pages as sent.
const MAX_SENT_BYTES: usize = 100_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("console")
}

/// (path below console/, content) of the files that are served.
fn files() -> BTreeMap<String, String> {
    fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                walk(&path, &format!("{name}/"), found);
            } else if !name.ends_with(".md") {
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&folder(), "", &mut found);
    found
}

/// The scripts without texts.
fn scripts() -> BTreeMap<String, String> {
    files().into_iter().filter(|(path, _)| path.ends_with(".js") && !path.starts_with("messages/")).collect()
}

fn messages(language: &str) -> BTreeMap<String, String> {
    let text = &files()[&format!("messages/{language}.js")];
    let json = text.trim().strip_prefix("export default").and_then(|text| text.strip_suffix(';')).unwrap();
    let list: serde_json::Value = serde_json::from_str(json).unwrap();
    list.as_object().unwrap().iter().map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned())).collect()
}

async fn get(server: &Server, path: &str) -> Answer {
    server.call("GET", path).without("APP-ID").without("APP-KEY").send().await
}

#[tokio::test]
async fn every_page_has_strict_headers() {
    let server = Server::start().await;
    for path in ["/console", "/console/", "/console/people/a%2Fb", "/console/a/x/people", "/console/assets/main.js"] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in
            ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.split("; ").any(|known| known == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert!(answer.header("permissions-policy").unwrap().contains("camera=(self)"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
    }
    for path in ["/healthz", "/api/v1.0/templates", "/licences"] {
        let answer = get(&server, path).await;
        assert_eq!(answer.header("permissions-policy"), None, "the camera is allowed on pages alone: {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}

/// An address without a file is a page, so a reload works; a file that does not exist is not.
#[tokio::test]
async fn addresses_are_pages_and_files_have_types() {
    let server = Server::start().await;
    let index = &files()["index.html"];
    for path in ["/console", "/console/people", "/console/a/x/people/ada", "/console/assets"] {
        let answer = get(&server, path).await;
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(answer.body == index.as_bytes(), "{path}");
    }
    for (path, content) in files() {
        let answer = get(&server, &format!("/console/assets/{path}")).await;
        let media_type = match path.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), Some(media_type), "{path}");
        assert!(answer.body == content.as_bytes(), "{path}");
    }
    for path in ["/console/assets/none.js", "/console/assets/README.md", "/console/assets/..%2fCargo.toml"] {
        let answer = get(&server, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/json")), "{path}");
    }
    assert_eq!(server.call("POST", "/console").send().await.status, 405);
}

#[tokio::test]
async fn unchanged_files_are_not_sent_again() {
    let server = Server::start().await;
    let path = "/console/assets/style.css";
    let plain = get(&server, path).await;
    let sent = server.call("GET", path).header("Accept-Encoding", "br, gzip;q=0.8").send().await;
    assert_eq!((sent.header("content-encoding"), plain.header("content-encoding")), (Some("gzip"), None));
    assert_eq!((sent.header("vary"), plain.header("vary")), (Some("accept-encoding"), Some("accept-encoding")));
    assert!(sent.body.starts_with(&[0x1f, 0x8b]) && sent.body.len() * 2 < plain.body.len());
    let refused = server.call("GET", path).header("Accept-Encoding", "gzip;q=0").send().await;
    assert_eq!((refused.header("content-encoding"), &refused.body), (None, &plain.body));
    let (tag, packed) = (plain.header("etag").unwrap(), sent.header("etag").unwrap());
    assert_ne!(tag, packed, "each encoding has a tag of its own");
    crate::support::crypto();
    for known in [tag.to_owned(), format!("\"other\", W/{tag}")] {
        let url = format!("http://{}{path}", server.addr);
        let answer = reqwest::Client::new().get(url).header("If-None-Match", known).send().await.unwrap();
        let sent = answer.headers().get("etag").unwrap().to_str().unwrap().to_owned();
        assert_eq!((answer.status().as_u16(), sent.as_str(), answer.text().await.unwrap().as_str()), (304, tag, ""));
    }
    let changed = server.call("GET", path).header("If-None-Match", "\"other\"").send().await;
    assert_eq!((changed.status, changed.body), (200, plain.body));
}

/// 100 kB of script and style: what a browser that visits every page receives, in one language.
#[tokio::test]
async fn all_pages_together_are_small() {
    let server = Server::start().await;
    let mut sent = 0;
    let mut plain = 0;
    for (path, content) in files() {
        if (path.ends_with(".js") || path.ends_with(".css")) && path != "messages/es.js" {
            let answer =
                server.call("GET", &format!("/console/assets/{path}")).header("Accept-Encoding", "gzip").send().await;
            sent += answer.body.len();
            plain += content.len();
        }
    }
    crate::support::figure("console: script and style of all pages", &format!("{sent} bytes sent, {plain} unpacked"));
    assert!(sent <= MAX_SENT_BYTES, "{sent} bytes");
}

#[test]
fn the_document_has_no_inline_code() {
    for (path, content) in files() {
        for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!content.contains(forbidden), "{path} uses {forbidden}");
        }
        assert!(!content.contains("https://"), "{path} names another host");
        if path.ends_with(".html") {
            assert!(
                !content.contains("style=") && !content.contains("onload") && !content.contains("<script>"),
                "{path}"
            );
        }
    }
}

#[test]
fn languages_have_the_same_texts() {
    let (english, spanish) = (messages("en"), messages("es"));
    let keys = |list: &BTreeMap<String, String>| list.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&english), keys(&spanish));
    let places = |text: &str| {
        let parts = text.split('{').skip(1).map(|part| part.split('}').next().unwrap().to_owned());
        parts.collect::<BTreeSet<_>>()
    };
    for (key, text) in &english {
        assert_eq!(places(text), places(&spanish[key]), "{key}");
        assert!(!text.trim().is_empty() && !spanish[key].trim().is_empty(), "{key}");
    }
}

/// What stands in quotes in a script, and whether it is a template literal.
fn literals(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in script.lines().filter(|line| !matches!(line.trim_start().get(..2), Some("//" | "* " | "/*" | "*/"))) {
        for quote in ['"', '`'] {
            found.extend(line.split(quote).skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Each text is a message: a literal with words is a key, a class, an address or a name of the platform.
#[test]
fn scripts_hold_no_text() {
    let mut wrong = Vec::new();
    for (path, script) in scripts() {
        for literal in literals(&script) {
            let words: Vec<&str> = literal.split_whitespace().collect();
            let is_sentence = words.len() > 1
                && words[0].starts_with(|c: char| c.is_ascii_uppercase())
                && words.iter().all(|word| word.chars().all(|c| c.is_alphabetic() || ".,:;!?'’".contains(c)));
            if is_sentence {
                wrong.push(format!("{path}: {literal}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(literals(r#"h("p", null, "Some text")"#), ["p", "Some text"]);
}

/// Every message that a script names exists, and every message is named. `t(`group.${word}`)` names a group.
#[test]
fn scripts_and_messages_agree() {
    let messages = messages("en");
    let scripts: Vec<String> = scripts().into_values().collect();
    let all = scripts.join("\n");
    let named: BTreeSet<&str> = all.split("t(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let exists = |key: &str| messages.contains_key(key) || messages.contains_key(&format!("{key}.other"));
    let calls =
        all.match_indices("t(\"").filter(|(at, _)| !all[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '.'));
    for (at, call) in calls {
        let key = all[at + call.len()..].split('"').next().unwrap();
        assert!(exists(key), "no message {key}");
    }
    let literals: BTreeSet<String> = scripts.iter().flat_map(|script| literals(script)).collect();
    let groups: BTreeSet<&str> = all.split("t(`").skip(1).filter_map(|rest| rest.split("${").next()).collect();
    let words: BTreeSet<&str> = all.split("word(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let unused: Vec<&String> = messages
        .keys()
        .filter(|key| {
            let plain = key.trim_end_matches(".one").trim_end_matches(".other");
            let group = groups.iter().any(|group| !group.is_empty() && plain.starts_with(group));
            let word = words.iter().any(|group| plain.starts_with(&format!("{group}.")));
            !(group || word || named.contains(plain) || literals.contains(plain))
        })
        .collect();
    assert_eq!(unused, Vec::<&String>::new());
}
