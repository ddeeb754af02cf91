//! Review in a real browser.

use super::browser::Browser;
use super::{look_at, server, sign_in};

/// Switched on in the application's rules; an unknown person who comes twice is enrolled with the keyboard, another one is
/// dismissed, and the next identification names who was enrolled.
#[tokio::test]
async fn an_unknown_person_is_enrolled_from_review() {
    let Some(browser) = Browser::start("the console: review") else { return };
    let server = server().await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "ada-01")]).await;
    let mut tab = browser.tab(server.url());
    sign_in(&mut tab, &server);
    tab.open("/console/review");
    tab.shows("This application keeps no faces for review.");
    look_at(&mut tab, "review-off");
    tab.click("Set how long faces are kept");
    tab.fill("Keep unmatched faces for review (days)", "7");
    tab.click("Save");
    tab.shows("Saved");
    for name in ["impostor_1.jpg", "person_b_1.jpg", "impostor_1.jpg"] {
        assert_eq!(app.identify(name).await["result"]["templateId"], serde_json::Value::Null, "{name}");
    }
    // The last one is held a moment after its response.
    for _ in 0..100 {
        tab.open("/console/review");
        tab.shows("Faces to decide");
        if tab.eval("document.body.innerText.includes('seen again')") == true {
            break;
        }
    }
    tab.shows("2 faces wait for a decision.");
    tab.until("document.querySelectorAll('.review img').length === 2");
    look_at(&mut tab, "review");
    // Last seen first: the one that was seen twice.
    tab.eval("document.querySelector('.review .sample').focus()");
    tab.press("j");
    tab.press("k");
    assert_eq!(tab.eval("document.activeElement.innerText.includes('Seen in 2 requests')"), true);
    tab.press("e");
    tab.fill("Person id", "cy-3");
    tab.fill("Name", "Cy Known");
    look_at(&mut tab, "dialog-review-enroll");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.shows("Enrolled as cy-3.");
    tab.shows("1 face waits for a decision.");
    tab.press("x");
    tab.shows("Dismiss this face?");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.shows("Nothing to decide");
    look_at(&mut tab, "review-empty");
    assert_eq!(app.identify("impostor_1.jpg").await["result"]["templateId"], "cy-3");
    tab.is_clean();
}
