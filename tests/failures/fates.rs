//! What can become of a request for a token, one entry for each.

use pizauth::{
    engine::ChildEnd,
    oauth::{Broken, CertificateFault, Reply, Stage},
    secret::Secret,
};
use serde_json::json;

use super::SECRET;

/// What becomes of a request to the token endpoint.
#[derive(Clone)]
pub enum Fate {
    Broken(Stage, &'static str),
    Answer {
        status: u16,
        content_type: &'static str,
        body: String,
        retry_after: Option<&'static str>,
    },
    Moved(u16, &'static str),
    /// No request is made, for `client_secret_cmd` prints no secret.
    NoSecret(ChildEnd),
}

impl Fate {
    /// What comes of the request.
    pub fn outcome(&self) -> Result<Reply, Broken> {
        match self {
            Fate::Broken(stage, detail) => Err(Broken { stage: *stage, detail: (*detail).to_owned() }),
            Fate::Answer { status, content_type, body, retry_after } => Ok(Reply {
                content_type: Some((*content_type).to_owned()),
                retry_after: retry_after.map(str::to_owned),
                ..reply(*status, body)
            }),
            Fate::Moved(status, to) => Ok(Reply { location: Some((*to).to_owned()), ..reply(*status, "") }),
            Fate::NoSecret(end) => panic!("a request without the secret: {end:?}"),
        }
    }
}

pub fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: Secret::new(body.as_bytes().to_vec()), ..Reply::default() }
}

fn broken(name: &'static str, stage: Stage, detail: &'static str) -> (&'static str, Fate) {
    (name, Fate::Broken(stage, detail))
}

fn json_answer(status: u16, body: serde_json::Value) -> Fate {
    Fate::Answer { status, content_type: "application/json", body: body.to_string(), retry_after: None }
}

pub fn page(status: u16, retry_after: Option<&'static str>) -> Fate {
    let body = "<html><h1>Log in to the network</h1></html>".to_owned();
    Fate::Answer { status, content_type: "text/html", body, retry_after }
}

pub fn refusal(error: &str, description: &str) -> Fate {
    let mut body = json!({ "error": error });
    if !description.is_empty() {
        body["error_description"] = json!(description);
    }
    json_answer(400, body)
}

/// Requests that got no answer, in the words of the one who made them.
pub fn unanswered() -> Vec<(&'static str, Fate)> {
    use CertificateFault as Fault;
    vec![
        broken(
            "The name cannot be resolved",
            Stage::Resolve,
            "could not resolve login.example.com: name or service not known",
        ),
        broken("Nobody listens", Stage::Connect, "connection to login.example.com:443 refused"),
        broken("The host does not answer", Stage::Connect, "timed out while connecting to login.example.com:443"),
        broken("There is no network", Stage::Connect, "no connection to login.example.com:443: network is unreachable"),
        broken(
            "The TLS handshake is cut short",
            Stage::Tls,
            "TLS handshake with login.example.com:443 failed: connection reset",
        ),
        broken("It is no TLS", Stage::Tls, "TLS handshake with login.example.com:443 failed: it does not speak TLS"),
        broken(
            "The certificate is of a private authority",
            Stage::Certificate(Fault::UnknownIssuer),
            "certificate of login.example.com:443 refused: no known root signed it",
        ),
        broken(
            "The certificate has expired",
            Stage::Certificate(Fault::Expired),
            "certificate of login.example.com:443 refused: it is expired",
        ),
        broken(
            "The certificate is for another name",
            Stage::Certificate(Fault::WrongName),
            "certificate of login.example.com:443 refused: it is for another name",
        ),
        broken(
            "The certificate is wrong in another way",
            Stage::Certificate(Fault::Other),
            "certificate of login.example.com:443 refused: it is not for servers",
        ),
        broken(
            "The proxy's name cannot be resolved",
            Stage::Resolve,
            "could not resolve the proxy proxy.example.com: name or service not known",
        ),
        broken("The proxy is not there", Stage::Connect, "connection to the proxy proxy.example.com:3128 refused"),
        broken(
            "The proxy wants a password",
            Stage::Proxy,
            "the proxy proxy.example.com:3128 made no connection to login.example.com:443: it asks for user and \
             password (status 407)",
        ),
        broken(
            "The proxy does not reach the provider",
            Stage::Proxy,
            "the proxy proxy.example.com:3128 made no connection to login.example.com:443: it answered with status 502",
        ),
        broken(
            "The proxy setting cannot be used",
            Stage::ProxySetting,
            "the environment's https_proxy cannot be used: only http:// proxies are supported",
        ),
        broken(
            "There are too many threads",
            Stage::NotStarted,
            "the request was not answered: no thread could be started for it",
        ),
        broken(
            "The request is written, and no answer comes",
            Stage::Sent,
            "no whole answer from login.example.com:443: timed out after 30 s",
        ),
        broken(
            "The answer is cut short, behind a proxy",
            Stage::Sent,
            "no whole answer from login.example.com:443 through the proxy proxy.example.com:3128: connection closed",
        ),
        broken(
            "The answer is too long",
            Stage::Sent,
            "no whole answer from login.example.com:443: its body is longer than 1 MiB",
        ),
    ]
}

/// Answers that are neither tokens nor an OAuth error.
pub fn without_reason() -> Vec<(&'static str, Fate)> {
    vec![
        ("A login page of the network", page(200, None)),
        ("JSON without a token", json_answer(200, json!({ "token_type": "Bearer" }))),
        ("A redirect", Fate::Moved(302, "https://login.example.com/elsewhere")),
        ("A redirect to nowhere", Fate::Moved(307, "")),
        ("400 without a reason", page(400, None)),
        ("401 without a reason", page(401, None)),
        ("403 without a reason", page(403, None)),
        ("404", page(404, None)),
        ("408", page(408, None)),
        ("425", page(425, None)),
        ("429", page(429, None)),
        ("429 with Retry-After", page(429, Some("300"))),
        ("500", page(500, None)),
        ("502 of a gateway", page(502, None)),
        ("503 with a date in Retry-After", page(503, Some("Mon, 23 Nov 2026 10:15:00 GMT"))),
        ("503 that asks for more than an hour", page(503, Some("86400"))),
        ("A token of another type", json_answer(200, json!({ "access_token": "access-2", "token_type": "DPoP" }))),
        ("A token that is no token", json_answer(200, json!({ "access_token": "access 2\n", "token_type": "Bearer" }))),
    ]
}

/// OAuth errors: of the RFCs, of nobody, and dressed up.
pub fn errors() -> Vec<(&'static str, Fate)> {
    let mut fates = vec![
        ("invalid_request", refusal("invalid_request", "")),
        ("invalid_client", refusal("invalid_client", "")),
        ("invalid_client with 401", json_answer(401, json!({ "error": "invalid_client" }))),
        ("unauthorized_client", refusal("unauthorized_client", "")),
        ("unsupported_grant_type", refusal("unsupported_grant_type", "")),
        ("invalid_scope", refusal("invalid_scope", "")),
        ("invalid_grant", refusal("invalid_grant", "Token has been expired or revoked.")),
        ("invalid_token with 401", json_answer(401, json!({ "error": "invalid_token" }))),
        ("invalid_token with 400", refusal("invalid_token", "")),
        ("interaction_required", refusal("interaction_required", "")),
        ("login_required", refusal("login_required", "")),
        ("consent_required", refusal("consent_required", "")),
        ("redirect_uri_mismatch", refusal("redirect_uri_mismatch", "")),
        ("access_denied", refusal("access_denied", "")),
        (
            "bad_refresh_token (GitHub)",
            refusal("bad_refresh_token", "The refresh token passed is incorrect or expired."),
        ),
        ("temporarily_unavailable", refusal("temporarily_unavailable", "")),
        ("server_error", refusal("server_error", "")),
        ("slow_down", refusal("slow_down", "")),
        ("500 with an error", json_answer(500, json!({ "error": "invalid_grant" }))),
        ("An unknown error", refusal("moon_phase", "The moon is not full.")),
        (
            "An error with a page about it",
            json_answer(400, json!({ "error": "moon_phase", "error_uri": "https://login.example.com/moon" })),
        ),
        ("An error that is an object", json_answer(400, json!({ "error": { "code": 400, "message": "moon" } }))),
        ("200 with an error (GitHub)", json_answer(200, json!({ "error": "incorrect_client_credentials" }))),
        (
            "A description with control characters and the secret",
            refusal("invalid_client", &format!("no\r\n\u{1b}[31mgood: {SECRET}")),
        ),
    ];
    fates.push((
        "An error in a form",
        Fate::Answer {
            status: 400,
            content_type: "application/x-www-form-urlencoded",
            body: "error=invalid_client&error_description=not+today".to_owned(),
            retry_after: None,
        },
    ));
    fates
}

/// Microsoft's numbers, with the beginning of what Microsoft says.
pub fn microsoft() -> Vec<(&'static str, Fate)> {
    [
        ("invalid_request", "AADSTS28000: Provided value for the input parameter scope is not valid."),
        ("invalid_request", "AADSTS50011: The redirect URI specified in the request does not match."),
        (
            "interaction_required",
            "AADSTS50076: Due to a configuration change, you must use multi-factor authentication.",
        ),
        ("interaction_required", "AADSTS50079: Due to a configuration change, you must enroll in multi-factor."),
        ("invalid_grant", "AADSTS50173: The provided grant has expired due to it being revoked."),
        ("invalid_request", "AADSTS50194: Application is not configured as a multi-tenant application."),
        (
            "invalid_grant",
            "AADSTS50196: The server terminated an operation because it encountered a client request loop.",
        ),
        ("access_denied", "AADSTS53003: Access has been blocked by Conditional Access policies."),
        ("invalid_grant", "AADSTS54005: OAuth2 Authorization code was already redeemed."),
        ("invalid_grant", "AADSTS65001: The user or administrator has not consented to use the application."),
        ("invalid_grant", "AADSTS70043: The refresh token has expired or is invalid due to sign-in frequency checks."),
        ("invalid_client", "AADSTS700025: Client is public so neither 'client_assertion' nor 'client_secret'."),
        ("invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity."),
        ("invalid_client", "AADSTS7000215: Invalid client secret provided."),
        ("invalid_client", "AADSTS7000218: The request body must contain 'client_assertion' or 'client_secret'."),
        ("invalid_client", "AADSTS7000222: The provided client secret keys are expired."),
        ("access_denied", "AADSTS90094: An administrator of the organisation has set a policy."),
        ("invalid_request", "AADSTS900144: The request body must contain the following parameter: 'scope'."),
        ("invalid_request", "AADSTS9002327: Tokens issued for the 'Single-Page Application' client-type."),
        ("invalid_request", "AADSTS9002346: Application is configured for use by Microsoft Account users only."),
    ]
    .map(|(error, description)| (description.split(':').next().unwrap_or(description), refusal(error, description)))
    .to_vec()
}

pub fn google() -> Vec<(&'static str, Fate)> {
    vec![
        ("invalid_grant of Google", refusal("invalid_grant", "Token has been expired or revoked.")),
        ("Google without a secret", refusal("invalid_request", "client_secret is missing.")),
        ("invalid_rapt", refusal("invalid_grant", "reauth related error (invalid_rapt)")),
        ("org_internal", refusal("org_internal", "")),
        ("access_denied of Google", json_answer(403, json!({ "error": "access_denied" }))),
    ]
}

/// Ends of `client_secret_cmd` that bring no secret.
pub fn no_secrets() -> Vec<(&'static str, Fate)> {
    let exited = |status, stdout: &str| ChildEnd::Exited { status, stdout: Secret::new(stdout.as_bytes().to_vec()) };
    [
        ("It fails", exited(1, "")),
        ("It is not there", exited(127, "")),
        ("It prints nothing", exited(0, "")),
        ("It prints an empty line", exited(0, "\n")),
        ("It prints two lines", exited(0, "one\ntwo\n")),
        ("It takes too long", ChildEnd::Killed),
        ("It prints too much", ChildEnd::TooMuch),
        ("It cannot be started", ChildEnd::NotStarted("no such file or directory".to_owned())),
    ]
    .map(|(name, end)| (name, Fate::NoSecret(end)))
    .to_vec()
}

/// What comes in place of a user code.
pub fn no_codes() -> Vec<(&'static str, Fate)> {
    let answer = |user_code: &str, verification_uri: &str| {
        let codes = json!({ "device_code": "d", "user_code": user_code, "verification_uri": verification_uri });
        json_answer(200, codes)
    };
    vec![
        broken("Nobody listens", Stage::Connect, "connection to login.example.com:443 refused"),
        ("The device grant is not enabled", refusal("unauthorized_client", "")),
        ("The device grant is not enabled (GitHub)", json_answer(200, json!({ "error": "device_flow_disabled" }))),
        ("A scope is wrong", refusal("invalid_scope", "")),
        ("The endpoint is not there", page(404, None)),
        ("The provider is down", page(503, None)),
        ("A login page of the network", page(200, None)),
        ("A verification URI that would run something", answer("WDJB-MJHT", "javascript:alert(1)")),
        ("A verification URI that is none", answer("WDJB-MJHT", "/device")),
        ("A user code that nobody can type", answer(&"W".repeat(65), "https://login.example.com/device")),
        ("A user code with control characters", answer("W\u{1b}[2J", "https://login.example.com/device")),
    ]
}

/// What comes back with the browser in place of a code.
pub const REDIRECTS: [(&str, &str); 5] = [
    ("The user says no", "error=access_denied&error_description=the+user+said+no"),
    ("A scope is wrong", "error=invalid_scope"),
    ("The client may not", "error=unauthorized_client"),
    ("The provider is ill", "error=server_error&error_description=try+later&error_uri=https://login.example.com/e"),
    ("Text that would do harm", "error=%1b%5b2J&error_description=%0d%0a%22%3E%3Cscript%3E"),
];
