//! What every world begins with: accounts, configuration, listeners.

use std::{collections::BTreeMap, time::Duration};

use pizauth::{
    config::{self, Config},
    engine::{Bound, Random},
    oauth::Ports,
    proto::Show,
};

use super::{chance::Chance, world::View};

pub const NAMES: [&str; 5] = ["home", "lab", "robot", "tv", "work"];

/// The one whose client has a secret, which a command prints.
pub const SECRETIVE: &str = "lab";

/// The one without user, whose client itself is granted tokens.
pub const USERLESS: &str = "robot";

/// The one whose user enters a code.
pub const DEVICE: &str = "tv";

/// The secret of the clients that have one.
pub const CLIENT_SECRET: &str = "word";

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn show(account: &str, wait: Option<u64>) -> Show {
    Show { account: account.to_owned(), wait, min_life: None, urls: true, git_host: None }
}

pub fn random(seed: u64) -> Random {
    let mut chance = Chance::new(seed);
    Box::new(move |bytes| bytes.fill_with(|| chance.below(256) as u8))
}

pub fn bound(http: u16) -> Bound {
    Bound { ports: Ports { http: Some(http), https: None }, ..Bound::default() }
}

pub fn config(views: &BTreeMap<&'static str, View>) -> Config {
    let mut text = "persist_cmd = \"persist\"; restore_cmd = \"restore\"; auth_notify_cmd = \"notify\";
        token_event_cmd = \"event\"; error_notify_cmd = \"error\";\n"
        .to_owned();
    for (name, view) in views {
        let grant = match *name {
            DEVICE => "grant = \"device_code\"; device_auth_uri = \"https://a.example/device\";".to_owned(),
            USERLESS => format!("grant = \"client_credentials\"; client_secret = \"{CLIENT_SECRET}\";"),
            SECRETIVE => "auth_uri = \"https://a.example/auth\"; client_secret_cmd = \"secret\";".to_owned(),
            _ => "auth_uri = \"https://a.example/auth\";".to_owned(),
        };
        text.push_str(&format!(
            "account \"{name}\" {{ {grant} token_uri = \"https://a.example/token\";
               revocation_uri = \"https://a.example/revoke\"; client_id = \"{name}.{}\"; }}\n",
            view.form
        ));
    }
    config::parse(&text).expect("a configuration of our own")
}
