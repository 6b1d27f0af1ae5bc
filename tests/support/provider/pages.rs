//! The pages that a person sees at the demo provider.

use super::answer::Answer;

const STYLE: &str = "\
:root { color-scheme: light dark; --back: #f4f5f7; --card: #fff; --text: #1d2733; --soft: #5a6675; --line: #d9dee5;
  --accent: #2457a6; --on-accent: #fff }
@media (prefers-color-scheme: dark) { :root { --back: #14181d; --card: #1d232a; --text: #e4e9ef; --soft: #9aa7b5;
  --line: #323b46; --accent: #8ab4f8; --on-accent: #10161d } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--back); color: var(--text);
  font: 1.05rem/1.55 system-ui, sans-serif }
main { box-sizing: border-box; width: min(27rem, calc(100vw - 2rem)); padding: 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px }
h1 { margin: 0 0 .75rem; font-size: 1.35rem; line-height: 1.3 }
p { margin: 0 0 1rem }
.soft { color: var(--soft); font-size: .92rem }
code { font-size: .95em; overflow-wrap: anywhere }
form { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.5rem }
button, input { font: inherit; padding: .55rem 1.4rem; border-radius: 8px; border: 1px solid var(--line);
  background: transparent; color: inherit }
button { cursor: pointer }
input { flex: 1 1 100%; box-sizing: border-box; letter-spacing: .08em }
.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent) }";

/// Asks whether `client_id` may have access: the buttons post `decision` to `/decision`.
pub(super) fn consent(client_id: &str, scope: Option<&str>, number: &str) -> Answer {
    let scope = scope.map_or_else(String::new, |scope| format!("<p>It asks for <code>{}</code>.</p>", escape(scope)));
    let content = format!(
        "<h1>Allow access?</h1><p>The program <code>{}</code> wants to use your demo account.</p>{scope}\
         <p class=\"soft\">This is the demo provider: nothing here is real.</p>\
         <form method=\"post\" action=\"/decision\">\
         <input type=\"hidden\" name=\"request\" value=\"{}\">{BUTTONS}</form>",
        escape(client_id),
        escape(number)
    );
    page(200, "Allow access?", &content)
}

/// Asks for a user code (RFC 8628 s3.3), filled in where the URL brought it.
pub(super) fn activate(user_code: &str) -> Answer {
    let content = format!(
        "<h1>Connect a device</h1><p>Enter the code that your device shows.</p>\
         <form method=\"post\" action=\"/activate\"><input name=\"user_code\" value=\"{}\" aria-label=\"Code\" \
         autocomplete=\"off\" required>{BUTTONS}</form>",
        escape(user_code)
    );
    page(200, "Connect a device", &content)
}

/// Says one thing.
pub(super) fn message(status: u16, title: &str, text: &str) -> Answer {
    page(status, title, &format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text)))
}

const BUTTONS: &str = "<button class=\"main\" name=\"decision\" value=\"allow\">Allow</button>\
                       <button name=\"decision\" value=\"deny\">Deny</button>";

fn page(status: u16, title: &str, content: &str) -> Answer {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} - demo provider</title><style>{STYLE}</style><main>{content}</main></html>\n",
        escape(title)
    );
    Answer::html(status, &html)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
