//! `info`: paths, version and ports; works without a server and without a configuration file.

use std::{fmt::Write, path::Path};

use serde::Serialize;

use super::{
    client::{Client, Deadline, LIMIT, judge},
    command::Arguments,
    failure::Failure,
    output,
};
use crate::{
    proto::{Info, Request, Response},
    server::paths,
    sys::place::Environment,
};

/// What `info -j` prints.
#[derive(Serialize)]
struct Report {
    cache_directory: String,
    config_file: Option<String>,
    executed_as: String,
    info_format_version: u32,
    pizauth_version: &'static str,
    server_running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_info: Option<Info>,
    socket: String,
}

/// Prints what there is to know without an account.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut place = Environment::read().server_place();
    let server_info = match Client::connect() {
        Ok(client) => {
            place = client.place().clone();
            ask_on(client).map_err(|failure| output::tell_failure(&failure)).ok()
        }
        Err(Failure::NoServer { fault: None }) => None,
        Err(failure) => {
            output::tell_failure(&failure);
            None
        }
    };
    let config_file = match paths::config_path(arguments.value("c").as_deref().map(Path::new)) {
        Ok(path) => Some(path.display().to_string()),
        Err(message) => {
            output::tell(&message);
            None
        }
    };
    let report = Report {
        cache_directory: place.directory().display().to_string(),
        config_file,
        executed_as: executed_as(),
        info_format_version: 2,
        pizauth_version: env!("CARGO_PKG_VERSION"),
        server_running: server_info.is_some(),
        server_info,
        socket: place.socket().display().to_string(),
    };
    let text = if arguments.given("j") { as_json(&report) } else { as_lines(&report) };
    output::print(text.as_bytes())
}

fn ask_on(mut client: Client) -> Result<Info, Failure> {
    match judge(client.exchange(&Request::Info, Deadline::after(LIMIT), |_| {})?)? {
        Response::Info(info) => Ok(info),
        Response::Done { .. } | Response::Failed { .. } | Response::Token(_) => Err(Failure::Unexpected),
        Response::Status(_) | Response::Dump { .. } => Err(Failure::Unexpected),
    }
}

/// The file name of the running program.
fn executed_as() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.unwrap_or("pizauth").to_owned()
}

fn as_json(report: &Report) -> String {
    serde_json::to_string(report).expect("strings and lists always have a JSON form") + "\n"
}

fn as_lines(report: &Report) -> String {
    let mut text = format!("{} version {}:\n", report.executed_as, report.pizauth_version);
    let config_file = report.config_file.as_deref().unwrap_or("none");
    let _ = writeln!(text, "  cache directory: {}\n  config file: {config_file}", report.cache_directory);
    let _ = writeln!(text, "  socket: {}", report.socket);
    let Some(info) = &report.server_info else { return text + "server not running\n" };
    let _ = writeln!(text, "server running:\n  HTTP port: {}\n  HTTPS port: {}", info.http_port, info.https_port);
    if let Some(key) = &info.https_pub_key {
        let _ = writeln!(text, "  HTTPS public key: {key}");
    }
    if let Some(fingerprint) = &info.https_cert_sha256 {
        let _ = writeln!(text, "  HTTPS certificate SHA-256: {fingerprint}");
    }
    for warning in &info.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(server_info: Option<Info>) -> Report {
        Report {
            cache_directory: "/run/user/1/pizauth".to_owned(),
            config_file: Some("/h/pizauth.conf".to_owned()),
            executed_as: "pizauth".to_owned(),
            info_format_version: 2,
            pizauth_version: "2.0.0",
            server_running: server_info.is_some(),
            server_info,
            socket: "/run/user/1/pizauth/pizauth.sock".to_owned(),
        }
    }

    fn info() -> Info {
        Info {
            http_port: "1234".to_owned(),
            https_port: "none".to_owned(),
            https_pub_key: None,
            https_cert_sha256: None,
            warnings: vec!["one family only".to_owned()],
        }
    }

    #[test]
    fn lines_are_those_of_the_manual() {
        let paths = "pizauth version 2.0.0:\n  cache directory: /run/user/1/pizauth\n  config file: /h/pizauth.conf\n  \
                     socket: /run/user/1/pizauth/pizauth.sock\n";
        for (name, server_info, want) in [
            ("no server", None, "server not running\n".to_owned()),
            (
                "HTTP",
                Some(info()),
                "server running:\n  HTTP port: 1234\n  HTTPS port: none\n  warning: one family only\n".to_owned(),
            ),
            (
                "HTTPS",
                Some(Info {
                    https_port: "5".to_owned(),
                    https_pub_key: Some("AA:BB".to_owned()),
                    https_cert_sha256: Some("CC:DD".to_owned()),
                    warnings: Vec::new(),
                    ..info()
                }),
                "server running:\n  HTTP port: 1234\n  HTTPS port: 5\n  HTTPS public key: AA:BB\n  \
                 HTTPS certificate SHA-256: CC:DD\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(as_lines(&report(server_info)), paths.to_owned() + &want, "{name}");
        }
    }

    #[test]
    fn json_has_the_keys_of_the_manual() {
        let json: serde_json::Value = serde_json::from_str(&as_json(&report(Some(info())))).unwrap();
        assert_eq!(json["info_format_version"], 2);
        assert_eq!(json["server_running"], true);
        assert_eq!(json["server_info"]["http_port"], "1234");
        let json: serde_json::Value = serde_json::from_str(&as_json(&report(None))).unwrap();
        assert_eq!(json["server_running"], false);
        assert!(json.get("server_info").is_none());
    }
}
