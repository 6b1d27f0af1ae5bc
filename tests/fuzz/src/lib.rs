//! What the fuzz targets share: an account, the secrets that no message may show, and what a line of text may hold.

use std::{sync::LazyLock, time::Duration};

use pizauth::{
    config::{self, Account},
    engine::WallTime,
    oauth::{Reply, text::Mask, token},
    secret::Secret,
};

/// A moment in 2026.
pub const NOW: WallTime = WallTime::from_secs(1_767_225_600);

/// The longest duration that an answer may lead to: a hundred years.
pub const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The account's client secret.
pub const CLIENT_SECRET: &str = "s3cret/&=+%\"value";

/// An account with everything that a target looks at.
pub static ACCOUNT: LazyLock<Account> = LazyLock::new(|| {
    let text = format!(
        r#"account "work" {{
            auth_uri = "https://a.example/auth";
            device_auth_uri = "https://a.example/device";
            token_uri = "https://a.example/token";
            redirect_uri = "http://localhost/cb?own=1";
            issuer = "https://a.example";
            client_id = "id";
            client_secret = {};
            scopes = ["mail", "offline"];
        }}"#,
        config::quote(CLIENT_SECRET)
    );
    let mut config = config::parse(&text).expect("a sound configuration");
    config.accounts.remove(0)
});

/// The redirect URI that the account's requests name.
pub const REDIRECT_URI: &str = "http://localhost:8080/cb?own=1";

/// The listeners' ports.
pub const PORTS: pizauth::oauth::Ports = pizauth::oauth::Ports { http: Some(8080), https: None };

/// The mask with which the account's answers are read.
pub static MASK: LazyLock<Mask> = LazyLock::new(|| token::mask(&ACCOUNT, Some(&Secret::from(CLIENT_SECRET))));

/// An answer made of fuzzed bytes: the first one chooses status and headers.
pub fn reply(data: &[u8]) -> Option<Reply> {
    let (&choice, body) = data.split_first()?;
    let text = |text: &str| Some(text.to_owned());
    Some(Reply {
        status: [200, 400, 401, 403, 429, 500, 503, 302][usize::from(choice % 8)],
        content_type: match choice / 8 % 4 {
            0 => text("application/json"),
            1 => text("application/x-www-form-urlencoded"),
            2 => text("text/html"),
            _ => None,
        },
        retry_after: match choice / 32 % 4 {
            0 => None,
            1 => text("120"),
            2 => text("Thu, 01 Jan 2026 00:01:00 GMT"),
            _ => String::from_utf8(body.iter().copied().take(64).collect()).ok(),
        },
        location: (choice >= 128).then(|| String::from_utf8_lossy(body).into_owned()),
        body: Secret::new(body.to_vec()),
    })
}

/// Panics where a message could act on a terminal, has no end, or shows the client secret.
pub fn check_message(message: &str) {
    assert!(!message.contains(char::is_control), "a control character in {message:?}");
    assert!(message.chars().count() < 4_000, "a message of {} characters", message.chars().count());
    assert!(!message.contains(CLIENT_SECRET), "a secret in {message:?}");
}
