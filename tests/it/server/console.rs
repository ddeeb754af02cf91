//! The console in a real browser, against the real server.

mod browser;
mod people;
mod review;
mod viewer;

use std::time::Instant;

use browser::{Browser, Tab};

use super::process::{Database, Server};

/// Each page with the name of its pictures; `APP` stands for the id of the first application.
const PAGES: [(&str, &str); 21] = [
    ("people-list", "/console/people"),
    ("review-page", "/console/review"),
    ("enroll", "/console/enroll"),
    ("import", "/console/import"),
    ("identify", "/console/identify"),
    ("access", "/console/access"),
    ("account", "/console/account"),
    ("unknown", "/console/none"),
    ("applications", "/console/applications"),
    ("application-new", "/console/applications/new"),
    ("application", "/console/applications/APP"),
    ("application-rules", "/console/applications/APP?part=policies"),
    ("application-danger", "/console/applications/APP?part=danger"),
    ("overview", "/console/"),
    ("journal", "/console/journal"),
    ("system", "/console/system"),
    ("system-models", "/console/system?part=models"),
    ("system-store", "/console/system?part=store"),
    ("system-backups", "/console/system?part=backups"),
    ("system-settings", "/console/system?part=settings"),
    ("system-doctor", "/console/system?part=doctor"),
];

const SIZES: [(&str, u32, u32); 3] = [("large", 1280, 800), ("medium", 768, 1024), ("small", 390, 844)];

const THEMES: [&str; 2] = ["light", "dark"];

/// A server with the administration on the API's address.
async fn server() -> Server {
    let administration = [("SEMBLANCE_ADMIN_LISTEN", "api")];
    Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &administration).await
}

fn first_token(server: &Server) -> String {
    std::fs::read_to_string(server.dir().join("admin.token")).unwrap().trim().to_owned()
}

/// Signs in with the token of the first run.
fn sign_in(tab: &mut Tab, server: &Server) {
    tab.open("/console/access");
    tab.fill("Token", &first_token(server));
    tab.click("Sign in");
    tab.until("document.querySelector('.rail')");
    tab.settled();
}

/// Pictures in each size and theme, no serious fault of accessibility, and no error of the browser.
fn look_at(tab: &mut Tab, name: &str) {
    look(tab, name);
    tab.is_clean();
}

/// Pictures in each size and theme, and no serious fault of accessibility.
fn look(tab: &mut Tab, name: &str) {
    for theme in THEMES {
        tab.theme(theme);
        for (size, width, height) in SIZES {
            tab.size(width, height);
            tab.picture(&format!("{name}-{theme}-{size}"));
            let overflow = tab.eval("document.documentElement.scrollWidth > innerWidth");
            assert_eq!(overflow, false, "{name}-{theme}-{size} scrolls sideways");
        }
        assert_eq!(tab.violations(), Vec::<String>::new(), "{name}-{theme}");
    }
    tab.size(1280, 800);
}

#[tokio::test]
async fn every_page_in_every_size_and_theme() {
    let Some(browser) = Browser::start("the console: every page") else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    tab.open("/console/");
    look_at(&mut tab, "sign-in");
    sign_in(&mut tab, &server);
    for (name, path) in PAGES {
        tab.open(&path.replace("APP", &server.first_credentials().0));
        look_at(&mut tab, name);
    }
}

/// The test notices what it must notice.
#[tokio::test]
async fn faults_of_a_page_are_noticed() {
    let Some(browser) = Browser::start("the console: faults are noticed") else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    tab.open("/console/");
    tab.is_clean();
    for (fault, word) in [
        ("const script = document.createElement('script'); script.textContent = '1'; document.body.append(script)", ""),
        ("document.body.setAttribute('style', 'color: red')", "style-src"),
        ("document.body.innerHTML = '<b>x</b>'", "TrustedHTML"),
        ("fetch('http://127.0.0.1:1/').catch(() => null)", "connect-src"),
        ("console.error('broken')", "broken"),
        ("setTimeout(() => { throw new Error('thrown') })", "thrown"),
    ] {
        tab.eval(&format!(
            "(async () => {{ try {{ {fault} }} catch (error) {{ console.error(String(error)); }}
               await new Promise((done) => setTimeout(done, 50)); }})()"
        ));
        let problems = tab.problems().join("\n");
        assert!(!problems.is_empty() && problems.contains(word), "{fault}: {problems}");
    }
    tab.eval("document.body.append(document.createElement('button'))");
    assert!(tab.violations().iter().any(|text| text.contains("button-name")));
}

/// A wrong token is refused in words; sign-out ends the session; a session that an owner ends elsewhere leads back to the
/// sign-in, and nothing of the page is left.
#[tokio::test]
async fn sessions_begin_and_end() {
    let Some(browser) = Browser::start("the console: sessions") else { return };
    let server = server().await;
    let (mut one, mut other) = (browser.tab(server.url()), browser.tab(server.url()));
    one.open("/console/access");
    one.fill("Token", "sba_wrong");
    one.click("Sign in");
    one.shows("This token does not open the console.");
    assert!(one.problems().iter().all(|problem| problem.contains("401")), "the browser reports the refusal");
    sign_in(&mut one, &server);
    assert_eq!(one.eval("location.pathname"), "/console/access", "the page that was asked for");
    let stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])";
    let stored = one.eval(stored).as_str().unwrap().to_owned();
    assert!(
        !stored.contains(&first_token(&server)) && stored.ends_with("\"\"]"),
        "the cookie is not for scripts: {stored}"
    );
    sign_in(&mut other, &server);
    other.open("/console/account");
    other.click("End all others");
    look_at(&mut other, "dialog-confirm");
    other.eval("[...document.querySelectorAll('dialog button')].find((node) => node.type === 'submit').click()");
    other.shows("Ended.");
    one.click("Access");
    one.shows("Your session has ended.");
    one.until("document.querySelector('.sign-in') && !document.querySelector('.rail')");
    one.problems(); // the 401
    other.open("/console/account");
    other.eval("document.querySelector('.menu').open = true");
    look_at(&mut other, "menu");
    other.click("Sign out");
    other.until("document.querySelector('.sign-in')");
    other.open("/console/access");
    other.until("document.querySelector('.sign-in')");
    other.is_clean();
}

/// An owner adds an operator, who signs in by the link once and sees no page of an owner.
#[tokio::test]
async fn an_invitation_signs_in_once() {
    let Some(browser) = Browser::start("the console: invitations") else { return };
    let server = server().await;
    let mut owner = browser.tab(server.url());
    sign_in(&mut owner, &server);
    owner.click("Add an administrator");
    look_at(&mut owner, "dialog-administrator");
    owner.fill("Name", "Reception");
    owner.eval("document.querySelector('dialog form').requestSubmit()");
    owner.shows("Sign-in link for Reception");
    look_at(&mut owner, "dialog-secret");
    let link = owner.eval("document.querySelector('.secret code').innerText").as_str().unwrap().to_owned();
    owner.click("I have stored it");
    owner.until("!document.querySelector('dialog')");
    assert_eq!(owner.eval(&format!("document.documentElement.outerHTML.includes({link:?})")), false);
    look_at(&mut owner, "administrator");
    let path = link.strip_prefix(server.url()).unwrap().to_owned();
    let mut operator = browser.tab(server.url());
    operator.open(&path);
    operator.until("document.querySelector('.rail')");
    assert_eq!(operator.eval("location.hash + location.search"), "", "the code left the address");
    assert_eq!(operator.eval("document.querySelector('.rail').innerText.includes('Access')"), false);
    operator.open("/console/access");
    operator.shows("There is no such page");
    let mut again = browser.tab(server.url());
    again.open(&path);
    again.shows("This sign-in link was used before or has expired.");
}

/// From the sign-in to a dialog and back with the keyboard alone, with a visible focus.
#[tokio::test]
async fn the_keyboard_reaches_everything() {
    let Some(browser) = Browser::start("the console: keyboard") else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    tab.open("/console/access");
    assert_eq!(tab.eval("document.activeElement.name"), "token", "the only field has the focus");
    tab.write(&first_token(&server));
    tab.press("Enter");
    tab.until("document.querySelector('.rail')");
    tab.settled();
    tab.tab_to("Skip to the content");
    tab.press("Enter");
    assert_eq!(tab.eval("document.activeElement.id"), "content");
    tab.tab_to("Add an administrator");
    tab.press("Enter");
    tab.until("document.querySelector('dialog[open]')");
    assert_eq!(tab.eval("document.activeElement.name"), "name");
    tab.press("Escape");
    tab.until("!document.querySelector('dialog')");
    tab.until("document.activeElement.innerText?.trim() === 'Add an administrator'");
    tab.press("Enter");
    tab.until("document.querySelector('dialog[open]')");
    tab.write("Anna");
    tab.tab_to("Role");
    tab.tab_to("Add an administrator");
    tab.press("Enter");
    tab.shows("Sign-in link for Anna");
    tab.tab_to("I have stored it");
    tab.press("Enter");
    tab.until("!document.querySelector('dialog') && document.querySelector('h1')?.innerText === 'Anna'");
    tab.is_clean();
}

/// An application is made, its key leaks and is replaced: the old key is refused and the new one accepted.
#[tokio::test]
async fn a_leaked_key_is_replaced() {
    let Some(browser) = Browser::start("the console: a leaked key") else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    sign_in(&mut tab, &server);
    tab.open("/console/applications/new");
    tab.fill("Name", "Gate");
    tab.click("Add");
    tab.shows("“Gate” is ready");
    let key = shown_secret(&mut tab);
    tab.click("I have stored it");
    tab.until(
        "location.pathname.startsWith('/console/applications/') && document.querySelector('h1')?.innerText === 'Gate'",
    );
    tab.settled();
    let app_id = tab.eval("location.pathname.split('/').at(-1)").as_str().unwrap().to_owned();
    assert_eq!(status(&server, &app_id, &key).await, 200);
    assert_eq!(tab.eval(&format!("document.documentElement.outerHTML.includes({key:?})")), false);
    let started = Instant::now();
    tab.eval("[...document.querySelectorAll('td button')].find((node) => node.innerText.trim() === 'Rotate').click()");
    tab.until("document.querySelector('dialog select')");
    look_at(&mut tab, "dialog-rotate");
    tab.fill("The present key ends", "0");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.until("document.querySelector('.secret code')");
    let next = shown_secret(&mut tab);
    tab.click("I have stored it");
    tab.shows("The former key has ended.");
    crate::support::figure("console: a leaked key is replaced", &format!("{} ms", started.elapsed().as_millis()));
    assert_eq!((status(&server, &app_id, &key).await, status(&server, &app_id, &next).await), (401, 200));
    tab.settled();
    tab.eval("[...document.querySelectorAll('td button')].find((node) => node.innerText.trim() === 'Suspend').click()");
    tab.shows("is suspended: it is refused until you resume it.");
    assert_eq!(status(&server, &app_id, &next).await, 401);
    tab.settled();
    look_at(&mut tab, "application-keys");
    tab.open(&format!("/console/applications/{app_id}?part=danger"));
    tab.click("Delete");
    tab.fill("Type “Gate” to confirm", "gate");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.shows("The text is different.");
    tab.fill("Type “Gate” to confirm", "Gate");
    look_at(&mut tab, "dialog-delete");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.until("location.pathname === '/console/applications'");
    tab.settled();
    assert_eq!(tab.eval("document.querySelector('table').innerText.includes('Gate')"), false);
    tab.is_clean();
}

fn shown_secret(tab: &mut Tab) -> String {
    tab.until("document.querySelector('.secret code')");
    tab.eval("document.querySelector('.secret code').innerText").as_str().unwrap().trim().to_owned()
}

/// The status of a call of the public API with these credentials.
async fn status(server: &Server, app_id: &str, key: &str) -> u16 {
    server.app((app_id.to_owned(), key.to_owned())).get("templates").await.0
}

/// Filters of the journal stand in the address, and a line opens with all its members.
#[tokio::test]
async fn the_journal_is_filtered_by_its_address() {
    let Some(browser) = Browser::start("the console: journal") else { return };
    let server = server().await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "ada")]).await;
    app.identify("person_a_2.jpg").await;
    let mut tab = browser.tab(server.url());
    sign_in(&mut tab, &server);
    tab.open("/console/journal?operation=identify");
    tab.until("document.querySelector('tbody tr')");
    assert_eq!(tab.eval("document.querySelectorAll('tbody tr').length"), 1);
    assert_eq!(tab.eval("document.querySelector('tbody').innerText.includes('found')"), true);
    tab.eval("document.querySelector('tbody button').click()");
    tab.shows("All members of the line");
    look_at(&mut tab, "dialog-line");
    tab.press("Escape");
    tab.until("!document.querySelector('dialog')");
    tab.fill("Operation", "add");
    tab.click("Filter");
    tab.until(
        "location.search === '?operation=add' && document.querySelector('tbody')?.innerText.includes('enrolled')",
    );
    tab.click("Verify now");
    tab.shows("The journal is complete and unchanged.");
    tab.open("/console/");
    tab.shows("Everything works. 1 identification today");
    look_at(&mut tab, "overview-in-use");
}

/// The page says that the server does not answer, stays readable, and recovers by itself.
#[tokio::test]
async fn a_lost_connection_is_a_bar() {
    let Some(browser) = Browser::start("the console: lost connection") else { return };
    let mut server = server().await;
    let mut tab = browser.tab(server.url());
    sign_in(&mut tab, &server);
    assert_eq!(server.stop(), Some(0));
    tab.click("Add an administrator");
    tab.fill("Name", "Late");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.shows("The server did not answer.");
    tab.until("!document.querySelector('.lost').hidden");
    tab.eval("document.querySelector('dialog').close()");
    look_at_lost(&mut tab);
    assert_eq!(tab.eval("Boolean(document.querySelector('table'))"), true, "the page stays");
    let listen = server.url().trim_start_matches("http://").to_owned();
    let environment = [("SEMBLANCE_ADMIN_LISTEN", "api"), ("SEMBLANCE_LISTEN", listen.as_str())];
    let _server = Server::start_in(server.into_dir(), &Database::sqlite(), &environment).await;
    tab.shows("The server answers again.");
    tab.until("document.querySelector('.lost').hidden");
}

fn look_at_lost(tab: &mut Tab) {
    tab.picture("lost-connection");
    assert_eq!(tab.violations(), Vec::<String>::new());
    tab.problems(); // the requests that failed
}

/// The language and the theme are the person's choice, and stay.
#[tokio::test]
async fn language_and_theme_are_remembered() {
    let Some(browser) = Browser::start("the console: language and theme") else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    sign_in(&mut tab, &server);
    tab.eval("{ const select = document.querySelectorAll('.menu select')[0]; select.value = 'dark'; select.dispatchEvent(new Event('change')); }");
    let ground = "getComputedStyle(document.documentElement).backgroundColor";
    let dark = tab.eval(ground);
    tab.eval("{ const select = document.querySelectorAll('.menu select')[1]; select.value = 'es'; select.dispatchEvent(new Event('change')); }");
    tab.shows("Añadir administrador");
    assert_eq!(tab.eval("document.documentElement.lang"), "es");
    assert_eq!(tab.eval(ground), dark);
    for (name, path) in PAGES {
        tab.open(&path.replace("APP", &server.first_credentials().0));
        tab.picture(&format!("spanish-{name}"));
        assert_eq!(tab.violations(), Vec::<String>::new());
    }
    tab.is_clean();
}

/// From the request for the page to its first picture, with an empty cache.
#[tokio::test]
async fn the_first_page_is_measured() {
    let Some(browser) = Browser::start("the console: first paint") else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    let started = Instant::now();
    tab.open("/console/");
    let drawn = started.elapsed();
    tab.picture("first-paint"); // a headless browser paints when it is looked at
    let entry = "performance.getEntriesByType('navigation')[0]";
    let loaded = tab.eval(&format!("{entry}.domContentLoadedEventEnd - {entry}.startTime")).as_f64().unwrap();
    let sent = tab.eval("performance.getEntriesByType('resource').reduce((sum, one) => sum + one.transferSize, 0)");
    assert!(loaded > 0.0 && sent.as_f64().unwrap() > 1000.0);
    let text = format!("loaded after {loaded:.0} ms, drawn after {} ms, {sent} bytes sent", drawn.as_millis());
    crate::support::figure("console: sign-in page, empty cache", &text);
}
