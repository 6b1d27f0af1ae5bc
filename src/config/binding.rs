//! Which fields bind a token to its account: where one of them changes, the token may no longer be given out.
//!
//! One list serves `reload`, which compares two accounts, and the dump, which keeps a fingerprint.

use super::{Account, ClientAuth, ClientSecret, Grant};
use crate::secret::Secret;

impl Account {
    /// Whether tokens given for `other` may be kept for this account.
    pub fn same_token_binding(&self, other: &Account) -> bool {
        self.binding() == other.binding()
    }

    /// Every field that binds a token, in a form that differs wherever one of them does. It holds the client secret.
    ///
    /// Part of the dump's format by way of its fingerprint: the order stays, and a new field goes to the end.
    pub fn binding(&self) -> Secret<Vec<u8>> {
        // Every field is named, so that a new one cannot be forgotten here.
        let Account {
            name: _,
            assume_expires_in: _,
            auth_uri,
            auth_uri_fields,
            client_auth,
            client_id,
            client_secret,
            device_auth_uri,
            git_hosts: _,
            grant,
            issuer,
            login_hint,
            redirect_uri,
            refresh_at_least: _,
            refresh_before_expiry: _,
            refresh_retry: _,
            revocation_uri: _,
            scopes,
            token_uri,
            token_uri_fields,
            token_uri_headers,
            user: _,
        } = self;
        let (secret, command) = match client_secret {
            ClientSecret::None => (None, None),
            ClientSecret::Text(secret) => (Some(secret.expose().as_str()), None),
            ClientSecret::Command(command) => (None, Some(command.as_str())),
        };
        let client_auth = match client_auth {
            ClientAuth::Post => "post",
            ClientAuth::Basic => "basic",
        };
        let grant = match grant {
            Grant::AuthorizationCode => "authorization_code",
            Grant::DeviceCode => "device_code",
            Grant::ClientCredentials => "client_credentials",
        };
        let mut writer = Writer(Vec::with_capacity(1024));
        writer.optional(auth_uri.as_deref());
        writer.text(token_uri);
        writer.optional(device_auth_uri.as_deref());
        writer.text(client_id);
        writer.optional(secret);
        writer.optional(command);
        writer.text(client_auth);
        writer.list(scopes.iter().map(String::as_str));
        writer.text(redirect_uri);
        writer.list(auth_uri_fields.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        writer.optional(login_hint.as_deref());
        writer.text(grant);
        writer.optional(issuer.as_deref());
        for fields in [token_uri_fields, token_uri_headers] {
            writer.list(fields.iter().flat_map(|(name, value)| [name.as_str(), value.expose().as_str()]));
        }
        Secret::new(writer.0)
    }
}

/// Writes lengths before contents, so that no two different sequences of values come out alike.
struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.list(text.into_iter());
    }

    fn list<'a>(&mut self, texts: impl Iterator<Item = &'a str> + Clone) {
        self.0.extend_from_slice(&(texts.clone().count() as u64).to_be_bytes());
        texts.for_each(|text| self.text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn account(options: &str) -> Account {
        let base = [
            ("auth_uri", "\"https://a.example/auth\""),
            ("token_uri", "\"https://a.example/token\""),
            ("client_id", "\"id\""),
        ];
        let base = base.map(|(name, value)| {
            let given = options.starts_with(&format!("{name} ="));
            if given { String::new() } else { format!("{name} = {value}; ") }
        });
        parse(&format!("account \"x\" {{ {} {options} }}", base.concat())).unwrap().accounts.remove(0)
    }

    #[test]
    fn a_changed_field_that_matters_costs_the_token() {
        let changes = [
            "",
            r#"auth_uri = "https://b.example/auth";"#,
            r#"token_uri = "https://b.example/token";"#,
            r#"device_auth_uri = "https://a.example/device";"#,
            r#"client_id = "other";"#,
            r#"client_secret = "s";"#,
            r#"client_secret_cmd = "s";"#,
            r#"client_secret = "s"; client_auth = "basic";"#,
            r#"scopes = ["a"];"#,
            r#"scopes = ["a", "b"];"#,
            r#"scopes = ["ab"];"#,
            r#"scopes = [""];"#,
            r#"redirect_uri = "http://localhost";"#,
            r#"auth_uri_fields = {"a": "b"};"#,
            r#"auth_uri_fields = {"b": "a"};"#,
            r#"login_hint = "a";"#,
            r#"grant = "client_credentials";"#,
            r#"issuer = "https://a.example";"#,
            r#"token_uri_fields = {"a": "b"};"#,
            r#"token_uri_headers = {"a": "b"};"#,
        ];
        for one in changes {
            for other in changes {
                assert_eq!(account(one).same_token_binding(&account(other)), one == other, "{one} {other}");
            }
        }
    }

    #[test]
    fn any_other_change_keeps_the_token() {
        for options in [
            "",
            r#"client_secret = "";"#,
            r#"redirect_uri = "http://localhost/";"#,
            r#"revocation_uri = "https://a.example/revoke";"#,
            r#"git_hosts = ["a.example"];"#,
            r#"user = "me";"#,
            "assume_expires_in = 1s;",
            "refresh_at_least = 1s; refresh_before_expiry = 1s; refresh_retry = 1s;",
        ] {
            assert!(account(options).same_token_binding(&account("")), "{options}");
        }
    }
}
