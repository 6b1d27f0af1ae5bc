//! What every world begins with: accounts, configuration, listeners.

use std::{collections::BTreeMap, time::Duration};

use pizauth::{
    config::{self, Config},
    engine::{Bound, Random},
    oauth::Ports,
    proto::Show,
};

use super::{chance::Chance, world::View};

pub const NAMES: [&str; 3] = ["home", "lab", "work"];

/// The one whose client has a secret, which a command prints.
pub const SECRETIVE: &str = "lab";

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
        let secret = if *name == SECRETIVE { "client_secret_cmd = \"secret\";" } else { "" };
        text.push_str(&format!(
            "account \"{name}\" {{ auth_uri = \"https://a.example/auth\"; token_uri = \"https://a.example/token\";
               revocation_uri = \"https://a.example/revoke\"; client_id = \"{name}.{}\"; {secret} }}\n",
            view.form
        ));
    }
    config::parse(&text).expect("a configuration of our own")
}
