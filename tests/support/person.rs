//! A person at a browser, as far as real login pages need one: keeps cookies, follows redirects, fills in forms and
//! presses their button, until a page comes that has none.

use std::io;

use super::http::{self, Fields, Response};

/// Pages and redirects that a login may take.
const MAX_STEPS: usize = 30;

/// Somebody who logs in.
pub struct Person {
    user: String,
    password: String,
    user_code: String,
    /// What the person presses, if not the button that agrees: a button's name or value.
    choice: Option<String>,
    /// Host, name and value.
    cookies: Vec<(String, String, String)>,
}

/// A form, filled in.
struct Form {
    action: String,
    fields: Fields,
    is_last: bool,
}

impl Person {
    /// Somebody with a user name and a password, who agrees to everything.
    pub fn new(user: &str, password: &str) -> Person {
        let [user, password] = [user, password].map(str::to_owned);
        Person { user, password, user_code: String::new(), choice: None, cookies: Vec::new() }
    }

    /// Types `user_code` where one is asked for.
    pub fn typing(self, user_code: &str) -> Person {
        Person { user_code: user_code.to_owned(), ..self }
    }

    /// Presses the button with this name or value as soon as there is one, and does nothing after.
    pub fn pressing(self, choice: &str) -> Person {
        Person { choice: Some(choice.to_owned()), ..self }
    }

    /// Opens `url` and does what the pages ask for; the last page.
    #[track_caller]
    pub fn visit(&mut self, url: &str) -> Response {
        self.try_visit(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn try_visit(&mut self, url: &str) -> io::Result<Response> {
        let mut url = url.to_owned();
        let mut form: Option<Fields> = None;
        let mut is_done = false;
        for _ in 0..MAX_STEPS {
            let page =
                self.request(&url, form.take()).map_err(|error| io::Error::other(format!("{error} at {url}")))?;
            if let Some(location) = page.header("location").filter(|_| (300..400).contains(&page.status)) {
                url = resolve(&url, location);
                continue;
            }
            match self.filled_form(&page.body) {
                Some(filled) if !is_done => {
                    url = resolve(&url, &filled.action);
                    form = Some(filled.fields);
                    is_done = filled.is_last;
                }
                Some(_) | None => return Ok(page),
            }
        }
        Err(io::Error::other("the login never ends"))
    }

    fn request(&mut self, url: &str, form: Option<Fields>) -> io::Result<Response> {
        let host = authority(url).to_owned();
        let cookies: Vec<_> = self.cookies.iter().filter(|(of, ..)| *of == host).collect();
        let cookies = cookies.iter().map(|(_, name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers = vec![("Accept", "text/html")];
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        let page = match form {
            None => http::request("GET", url, &headers, "")?,
            Some(fields) => {
                headers.push(("Content-Type", "application/x-www-form-urlencoded"));
                http::request("POST", url, &headers, &http::encode_form(&fields))?
            }
        };
        for (_, cookie) in page.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).unwrap_or_default();
            self.cookies.retain(|(of, old, _)| (of.as_str(), old.as_str()) != (&host, name));
            if !value.is_empty() {
                self.cookies.push((host.clone(), name.to_owned(), value.to_owned()));
            }
        }
        page.finish()
    }

    fn filled_form(&self, html: &str) -> Option<Form> {
        let start = html.match_indices("<form").find_map(|(at, _)| {
            let tag = html[at..].split('>').next()?;
            attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")).then_some((at, tag))
        });
        let (at, tag) = start?;
        let inside = html[at..].split("</form>").next().unwrap_or_default();
        let mut fields = Fields::new();
        for input in tags(inside, "input") {
            let Some(name) = attribute(input, "name") else { continue };
            let value = match (name.as_str(), attribute(input, "type").as_deref()) {
                (_, Some("password")) => self.password.clone(),
                (_, Some("checkbox" | "submit" | "button")) => continue,
                ("login" | "user_name" | "username", _) => self.user.clone(),
                ("user_code", Some("text") | None) => self.user_code.clone(),
                _ => attribute(input, "value").unwrap_or_default(),
            };
            fields.push((name, value));
        }
        // A button may stand outside the form that it names.
        let id = attribute(tag, "id");
        let outside = tags(html, "button").filter(|button| id.is_some() && attribute(button, "form") == id);
        let buttons: Vec<_> = tags(inside, "button").chain(outside).collect();
        let pressed = |text: &str| {
            buttons.iter().find_map(|button| {
                let (name, value) = (attribute(button, "name")?, attribute(button, "value")?);
                (name == text || value == text).then_some((name, value))
            })
        };
        let choice = self.choice.as_deref().and_then(pressed);
        let is_last = choice.is_some();
        fields.extend(choice.or_else(|| pressed("accept")));
        Some(Form { action: attribute(tag, "action").unwrap_or_default(), fields, is_last })
    }
}

/// The opening tags of one kind of element, without their angle brackets.
fn tags<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    html.split('<').skip(1).filter_map(move |rest| {
        let tag = rest.split('>').next()?;
        tag.strip_prefix(name).is_some_and(|rest| rest.starts_with(char::is_whitespace)).then_some(tag)
    })
}

/// The value of a tag's attribute.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let (before, after) = rest.split_once(name)?;
        rest = after;
        if !before.ends_with(char::is_whitespace) {
            continue;
        }
        let Some(value) = after.strip_prefix('=') else { continue };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = match quote {
            Some(quote) => value[1..].split(quote).next(),
            None => value.split(|c: char| c.is_whitespace() || c == '>').next(),
        };
        return value.map(unescape);
    }
}

fn unescape(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default()
}

/// What `target` means on the page at `url`.
fn resolve(url: &str, target: &str) -> String {
    if target.contains("://") {
        return target.to_owned();
    }
    let page = url.split(['?', '#']).next().unwrap_or(url);
    let origin = format!("http://{}", authority(url));
    match target.chars().next() {
        None => url.to_owned(),
        Some('/') => origin + target,
        Some('?') => format!("{page}{target}"),
        Some(_) => format!("{}/{target}", page.rsplit_once('/').map_or(page, |(folder, _)| folder)),
    }
}
