//! The redirect page in a real browser: what a person sees before and after the token endpoint has answered, and what
//! the browser's own requests cost.
//!
//! With PIZAUTH_SCREENSHOTS naming a folder, pictures of the pages are written there.

mod support;

use std::path::PathBuf;

use support::{
    chromium::{Browser, Scheme, Tab},
    http,
    provider::{Answer, Approval, Provider, Settings},
    server::Pizauth,
};

const PROCESSING: &str = "pizauth processing authentication: you can safely close this page.";

/// A provider whose consent page waits for a click.
fn asking_provider() -> Provider {
    Provider::start(Settings { approval: Approval::Page, ..Settings::default() })
}

#[test]
fn a_browser_shows_the_sentence_first_and_then_the_outcome() {
    let Some(mut browser) = Browser::start() else { return };
    let provider = asking_provider();
    let server = Pizauth::start(&provider.account("work", "scopes = [\"mail\"];"));
    let mut tab = browser.open_tab();
    let moon = Answer::error(400, "invalid_grant", "the <b>moon</b> is full");
    for (name, answer, outcome) in
        [("failure", Some(moon), "the <b>moon</b> is full"), ("success", None, "work is authorised")]
    {
        let asked = provider.token_requests().len();
        provider.hold();
        answer.into_iter().for_each(|answer| provider.next_token_answer(answer));
        tab.go(&server.authorization_url("work"));
        tab.wait_for_text("Allow access?");
        tab.click("button[value=allow]");

        provider.wait_for_token_requests(asked + 1);
        let before = tab.wait_for_text(PROCESSING);
        assert!(tab.is_loading(), "{name}: the page ends before the token endpoint has answered: {before}");
        picture(&mut tab, &format!("{name}-before"));

        provider.release();
        let after = tab.wait_for_text(outcome);
        assert_ne!(after, before, "{name}");
        assert!(!tab.is_loading(), "{name}: the page never ends");
        picture(&mut tab, &format!("{name}-after"));
        server.run(&["show", "-u", "work"]).expect(if name == "failure" { 3 } else { 0 });
    }
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn a_browser_shows_who_refused_and_what_to_do() {
    let Some(mut browser) = Browser::start() else { return };
    let provider = asking_provider();
    let server = Pizauth::start(&provider.account("work", ""));
    let mut tab = browser.open_tab();
    tab.go(&server.authorization_url("work"));
    tab.click("button[value=deny]");
    let text = tab.wait_for_text("access_denied");
    assert!(text.contains("the user said no") && text.contains("work"), "{text}");
    picture(&mut tab, "refused");
    assert_eq!(provider.token_requests().len(), 0);
}

#[test]
fn the_requests_that_a_browser_makes_by_itself_cost_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let provider = asking_provider();
    let server = Pizauth::start(&provider.account("work", ""));
    let url = server.authorization_url("work");
    let redirect_uri = http::field(&http::query(&url), "redirect_uri").expect("a redirect_uri").to_owned();

    // The icon, a page beside it, and whatever connections the browser makes ahead.
    let mut stranger = browser.open_tab();
    for path in ["favicon.ico", "elsewhere", "?state=guessed&code=guessed"] {
        stranger.go(&format!("{redirect_uri}{path}"));
        stranger.wait_for_text("redirect");
    }
    picture(&mut stranger, "unknown");
    let mut tab = browser.open_tab();
    tab.go(&url);
    tab.click("button[value=allow]");
    tab.wait_for_text("work is authorised");
    assert_eq!(server.token("work"), provider.last_access_token());

    // Going there again shows the same, and sends no code.
    let address = tab.evaluate("location.href");
    tab.evaluate("document.body.append('the first time')");
    tab.go(address.as_str().expect("an address"));
    assert!(!tab.text().contains("the first time"));
    tab.wait_for_text("work is authorised");
    assert_eq!(provider.counters().codes_redeemed, 1);
    assert_eq!(provider.counters().codes_reused, 0);
    assert_eq!(provider.token_requests().len(), 1);
}

#[test]
fn a_prefetch_costs_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let redirect = http::get(&server.authorization_url("work"));
    let location = redirect.header("location").expect("a redirect").to_owned();

    // Any page of the provider, with a link that the browser is told to fetch ahead.
    let mut tab = browser.open_tab();
    tab.go(&provider.url("/activate"));
    tab.wait_for_text("Connect a device");
    let fetch = format!(
        "const link = document.createElement('link'); link.rel = 'prefetch'; link.href = {};
         link.onload = link.onerror = () => document.body.append('fetched ahead'); document.head.append(link)",
        serde_json::Value::from(location.as_str())
    );
    tab.evaluate(&fetch);
    tab.wait_for_text("fetched ahead");
    assert_eq!(provider.token_requests().len(), 0, "a prefetch used up the authorization");

    tab.go(&location);
    tab.wait_for_text("work is authorised");
    assert_eq!(server.token("work"), provider.last_access_token());
}

/// Writes what the page looks like, in light and dark and on a telephone, where PIZAUTH_SCREENSHOTS names a folder.
fn picture(tab: &mut Tab, name: &str) {
    let Some(folder) = std::env::var_os("PIZAUTH_SCREENSHOTS").map(PathBuf::from) else { return };
    for (scheme, look) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
        tab.prefer(scheme);
        for (width, height, device) in [(1000, 700, ""), (390, 700, "-narrow")] {
            tab.resize(width, height);
            tab.screenshot(&folder.join(format!("{name}-{look}{device}.png")));
        }
    }
}
