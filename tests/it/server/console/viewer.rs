//! The viewer of the two OpenAPI documents.

use serde_json::Value;

use super::browser::{Browser, Tab};
use super::{look_at, server};

/// (page, document, name of the pictures, an operation with a body)
const VIEWERS: [(&str, &str, &str, &str); 2] = [
    ("/docs", "/openapi.json", "docs", "searchTemplates"),
    ("/console/api", "/api/admin/v1/openapi.json", "docs-administration", "createApplication"),
];

fn count(tab: &mut Tab, selector: &str) -> u64 {
    tab.eval(&format!("[...document.querySelectorAll('{selector}')].filter((node) => node.checkVisibility()).length"))
        .as_u64()
        .unwrap()
}

/// Every operation of a document is shown with its replies and its types, in every size and theme, without a fault of
/// accessibility and without an error of the browser.
#[tokio::test]
async fn both_documents_are_shown_whole() {
    let Some(browser) = Browser::start("the viewer of the documents") else { return };
    let server = server().await;
    for (page, document, name, operation) in VIEWERS {
        let document = reqwest::get(format!("{}{document}", server.url())).await.unwrap().bytes().await.unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        let all =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum::<usize>();
        let mut tab = browser.tab(server.url());
        tab.open(page);
        assert_eq!(count(&mut tab, ".operation"), all as u64, "{page}");
        look_at(&mut tab, name);

        // The address opens an operation, with the call to copy.
        tab.eval(&format!("location.hash = '{operation}'"));
        tab.until(&format!(
            "document.querySelector('#{operation}[open] pre code')?.innerText.startsWith('curl -X POST ')"
        ));
        let summary = format!("document.activeElement === document.querySelector('#{operation} > summary')");
        assert_eq!(tab.eval(&summary), true, "the focus follows the address");
        tab.eval(&format!(
            "document.querySelectorAll('#{operation} details').forEach((node) => {{ node.open = true; }})"
        ));
        tab.until(&format!("document.querySelector('#{operation} .members .name')"));
        look_at(&mut tab, &format!("{name}-operation"));

        // The keyboard alone: the filter leaves one operation, Enter opens it.
        tab.fill("Filter", "get /healthz");
        if page == "/docs" {
            assert_eq!(count(&mut tab, ".operation"), 1, "{page}");
            tab.eval("document.querySelector('#filter').focus()");
            tab.tab_to("GET /healthz The process runs.");
            tab.press("Enter");
            tab.until("document.querySelector('#healthz[open]')?.innerText.includes('No credentials are needed.')");
        } else {
            assert_eq!(count(&mut tab, ".operation"), 0, "{page}");
        }
        tab.fill("Filter", "");

        // Each operation can be drawn, down to types that contain themselves.
        tab.eval(
            "(async () => {
               for (let depth = 0; depth < 4; depth += 1) {
                 for (const node of document.querySelectorAll('details:not([open])')) node.open = true;
                 await new Promise((done) => setTimeout(done, 100));
               }
             })()",
        );
        let shown = tab
            .eval("[...document.querySelectorAll('.operation')].every((node) => node.innerText.includes('Replies'))");
        assert_eq!(shown, true, "{page}");
        let lost = tab.eval("document.body.innerText.match(/undefined|\\[object Object\\]/)?.[0]");
        assert_eq!(lost, Value::Null, "{page}: a value without a form");
        tab.is_clean();
    }
}
