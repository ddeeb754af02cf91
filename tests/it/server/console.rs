//! The console in a real browser.

mod browser;

use browser::Browser;

use super::process::{Database, Server};

/// The signed-out page: readable, without faults, in each size and theme.
#[tokio::test]
async fn sign_in_is_accessible() {
    let Some(browser) = Browser::start("the console: sign in") else { return };
    let server = Server::start(&Database::sqlite()).await;
    let mut tab = browser.tab(server.url());
    tab.open("/console/");
    for theme in ["light", "dark"] {
        tab.theme(theme);
        for (name, width, height) in [("large", 1280, 800), ("medium", 768, 1024), ("small", 390, 844)] {
            tab.size(width, height);
            tab.picture(&format!("sign-in-{theme}-{name}"));
            assert_eq!(tab.violations(), Vec::<String>::new());
        }
    }
    tab.is_clean();
}

/// The test notices what it must notice.
#[tokio::test]
async fn faults_of_a_page_are_noticed() {
    let Some(browser) = Browser::start("the console: faults are noticed") else { return };
    let server = Server::start(&Database::sqlite()).await;
    let mut tab = browser.tab(server.url());
    tab.open("/console/");
    tab.is_clean();
    for (fault, word) in [
        ("const script = document.createElement('script'); script.textContent = '1'; document.body.append(script)", ""),
        ("document.body.setAttribute('style', 'color: red')", "style-src"),
        ("fetch('http://127.0.0.1:1/').catch(() => null)", "connect-src"),
        ("console.error('broken')", "broken"),
        ("setTimeout(() => { throw new Error('thrown') })", "thrown"),
    ] {
        tab.eval(&format!(
            "(async () => {{ try {{ {fault} }} catch (error) {{ console.error(String(error)); }} \
                           await new Promise((done) => setTimeout(done, 50)); }})()"
        ));
        let problems = tab.problems().join("\n");
        assert!(!problems.is_empty() && problems.contains(word), "{fault}: {problems}");
    }
    tab.eval("document.body.append(document.createElement('button'))");
    assert!(tab.violations().iter().any(|text| text.contains("button-name")), "{:?}", tab.violations());
}
