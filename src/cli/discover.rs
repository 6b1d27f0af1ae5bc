//! `discover`: an account block from what a provider publishes about itself.
//!
//! Metadata is hostile. The block is printed only if reading it back gives exactly the values that it was made of.

use std::path::Path;

use super::{command::Arguments, failure::Failure, output};
use crate::{
    config::{self, ClientAuth, Grant},
    oauth::{
        Broken, Call, CertificateFault, Stage,
        metadata::{self, Metadata, Methods},
        text,
    },
    server::{endpoint::Endpoint, proxy::ProxySettings, roots},
};

/// Fetches the metadata of an issuer, from its likeliest place first, and prints the block.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let url = arguments.operand();
    let places = metadata::candidates(&url)
        .map_err(|fault| Failure::Refused(vec![format!("{}: {fault}", text::one_line(&url))]))?;
    let roots = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
    let roots = roots::load(None, roots.as_deref().map(Path::new)).map_err(|fault| Failure::Refused(vec![fault]))?;
    let endpoint = Endpoint::new(ProxySettings::from_env(), roots);

    let mut faults = Vec::new();
    for place in places {
        let call = Call { uri: place.clone(), headers: Vec::new(), body: None };
        let told = |what: String| format!("{place}: {what}");
        // Every place is on the same host: where that does not answer, the next is no better.
        let reply = endpoint.send_blocking(&call).map_err(|broken| Failure::Refused(vec![told(no_answer(&broken))]))?;
        match metadata::read(&url, &reply) {
            Ok(metadata) => return print(&url, &metadata),
            Err(fault) => faults.push((fault.is_of_metadata(), told(fault.to_string()))),
        }
    }
    // What is wrong with metadata that are there says more than where there are none.
    let has_metadata = faults.iter().any(|(is_of_metadata, _)| *is_of_metadata);
    faults.retain(|(is_of_metadata, _)| *is_of_metadata || !has_metadata);
    Err(Failure::Refused(faults.into_iter().map(|(_, told)| told).collect()))
}

/// Why no answer came, with advice where there is some.
fn no_answer(broken: &Broken) -> String {
    let advice = match broken.stage {
        Stage::Certificate(CertificateFault::UnknownIssuer) => {
            "; if the certificate is of a private authority, name its PEM file in SSL_CERT_FILE"
        }
        Stage::Certificate(CertificateFault::Expired) => {
            "; the provider must renew its certificate, or this machine's clock is wrong"
        }
        Stage::Certificate(CertificateFault::WrongName | CertificateFault::Other)
        | Stage::NotStarted
        | Stage::Resolve
        | Stage::Connect
        | Stage::Proxy
        | Stage::ProxySetting
        | Stage::Tls
        | Stage::Sent => "",
    };
    format!("{}{advice}", broken.detail)
}

fn print(url: &str, metadata: &Metadata) -> Result<(), Failure> {
    let name = account_name(&metadata.issuer);
    let block = metadata::account_block(name, metadata);
    if !says_just(&block, name, metadata) {
        return Err(Failure::NoBlock { url: url.to_owned() });
    }
    output::print(block.as_bytes())
}

/// The issuer's host, as a name to start with.
fn account_name(issuer: &str) -> &str {
    let authority = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    authority.split(['/', '?']).next().unwrap_or(authority)
}

/// Whether `block`, once its blanks are filled in, is one account with the metadata's values.
fn says_just(block: &str, name: &str, metadata: &Metadata) -> bool {
    let filled = block
        .replace("client_id = \"\";", "client_id = \"x\";")
        .replace("client_secret = \"\";", "client_secret = \"x\";");
    let Ok(config) = config::parse(&filled) else { return false };
    let [account] = config.accounts.as_slice() else { return false };
    let grant = match (&metadata.auth_uri, &metadata.device_auth_uri) {
        (Some(_), _) => Grant::AuthorizationCode,
        (None, Some(_)) => Grant::DeviceCode,
        (None, None) => Grant::ClientCredentials,
    };
    let client_auth = match metadata.client_auth {
        Methods::BasicOnly => ClientAuth::Basic,
        Methods::Post | Methods::Unnamed | Methods::Unknown => ClientAuth::Post,
    };
    let issuer = Some(&metadata.issuer).filter(|_| metadata.announces_iss && metadata.auth_uri.is_some());
    let hooks = [
        &config.auth_notify_cmd,
        &config.error_notify_cmd,
        &config.persist_cmd,
        &config.restore_cmd,
        &config.startup_cmd,
        &config.token_event_cmd,
        &config.transient_error_if_cmd,
    ];
    hooks.iter().all(|hook| hook.is_none())
        && account.name == name
        && account.auth_uri == metadata.auth_uri
        && account.token_uri == metadata.token_uri
        && account.device_auth_uri == metadata.device_auth_uri
        && account.revocation_uri == metadata.revocation_uri
        && account.issuer.as_ref() == issuer
        && account.client_id == "x"
        && account.client_auth == client_auth
        && account.grant == grant
        && account.scopes.is_empty()
        && account.auth_uri_fields.is_empty()
        && account.token_uri_fields.is_empty()
        && account.token_uri_headers.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            issuer: "https://login.example/tenant".to_owned(),
            auth_uri: Some("https://login.example/authorize?a=b".to_owned()),
            token_uri: "https://login.example/token".to_owned(),
            device_auth_uri: Some("https://login.example/device".to_owned()),
            revocation_uri: None,
            client_auth: Methods::BasicOnly,
            announces_iss: true,
            left_out: Vec::new(),
        }
    }

    #[test]
    fn a_block_reads_back_as_it_was_meant() {
        let plain = metadata();
        for (name, metadata) in [
            ("everything", plain.clone()),
            ("no iss", Metadata { announces_iss: false, ..plain.clone() }),
            ("device alone", Metadata { auth_uri: None, ..plain.clone() }),
            ("no user", Metadata { auth_uri: None, device_auth_uri: None, ..plain.clone() }),
            ("post", Metadata { client_auth: Methods::Unnamed, ..plain }),
        ] {
            let host = account_name(&metadata.issuer);
            assert_eq!(host, "login.example");
            let block = metadata::account_block(host, &metadata);
            assert!(says_just(&block, host, &metadata), "{name}:\n{block}");
        }
    }

    #[test]
    fn a_block_with_anything_else_in_it_is_not_printed() {
        let metadata = metadata();
        let block = metadata::account_block("login.example", &metadata);
        for (name, block) in [
            ("another account", format!("{block}{}", block.replace("login.example\" {", "b\" {"))),
            ("another value", block.replace("example/token", "evil.example/token")),
            ("another option", block.replace("client_id", "scopes = [\"all\"]; client_id")),
            ("a hook", format!("startup_cmd = \"evil\"; {block}")),
            ("nothing", String::new()),
        ] {
            assert!(!says_just(&block, "login.example", &metadata), "{name}:\n{block}");
        }
    }
}
