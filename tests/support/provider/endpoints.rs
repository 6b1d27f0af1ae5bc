//! What each path of the demo provider does with a request.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    super::http::{Request, encode_form, parse_form},
    Approval, ClientAuth, State,
    answer::Answer,
    grants::{Issued, Requested},
    pages,
};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl State {
    pub(super) fn route(&mut self, issuer: &str, request: &Request) -> Answer {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/authorize") => self.on_authorize(issuer, request),
            ("POST", "/decision") => self.on_decision(issuer, request),
            ("POST", "/token") => self.on_token(request),
            ("POST", "/device") => self.on_device(issuer, request),
            ("GET", "/activate") => pages::activate(request.query("user_code").unwrap_or_default()),
            ("POST", "/activate") => self.on_activate(request),
            ("POST", "/revoke") => self.on_revoke(request),
            ("GET", "/whoami") => self.on_whoami(request),
            ("GET", "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration") => {
                Answer::json(200, &self.metadata(issuer))
            }
            _ => pages::message(404, "Not found", "There is nothing at this address."),
        }
    }

    /// The authorization endpoint (RFC 6749 s4.1.1). Where client or redirect_uri are wrong, nothing is redirected.
    fn on_authorize(&mut self, issuer: &str, request: &Request) -> Answer {
        let requested = match self.parse_authorize(request) {
            Ok(requested) => requested,
            Err(problem) => return pages::message(400, "This request is wrong", &problem),
        };
        match self.settings.approval {
            Approval::Automatic => self.decide(issuer, requested, true),
            Approval::Denied => self.decide(issuer, requested, false),
            Approval::Page => {
                let number = format!("{}", self.requests.len());
                let answer = pages::consent(&requested.client_id, requested.scope.as_deref(), &number);
                self.open_requests.insert(number, requested);
                answer
            }
        }
    }

    fn parse_authorize(&self, request: &Request) -> Result<Requested, String> {
        if let Some((name, _)) =
            request.query.iter().enumerate().find_map(|(at, pair)| {
                request.query[..at].iter().any(|(earlier, _)| *earlier == pair.0).then_some(pair)
            })
        {
            return Err(format!("repeated parameter {name}"));
        }
        let required = |name: &str| {
            let value = request.query(name).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or_else(|| format!("missing parameter {name}"))
        };
        let client_id = required("client_id")?;
        if !self.knows(&client_id) {
            return Err("unknown client_id".to_owned());
        }
        let redirect_uri = required("redirect_uri")?;
        if !redirect_uri.starts_with("http://") && !redirect_uri.starts_with("https://") || redirect_uri.contains('#') {
            return Err("redirect_uri is no http or https URI without fragment".to_owned());
        }
        if required("response_type")? != "code" {
            return Err("response_type is not code".to_owned());
        }
        if required("code_challenge_method")? != "S256" {
            return Err("code_challenge_method is not S256".to_owned());
        }
        let code_challenge = required("code_challenge")?;
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if code_challenge.len() != 43 || !code_challenge.bytes().all(is_base64url) {
            return Err("code_challenge is no SHA-256 in base64url".to_owned());
        }
        let (state, scope) = (required("state")?, request.query("scope").map(str::to_owned));
        Ok(Requested { client_id, redirect_uri, code_challenge, scope, state })
    }

    /// The consent page's buttons.
    fn on_decision(&mut self, issuer: &str, request: &Request) -> Answer {
        let number = request.form("request").unwrap_or_default();
        let Some(requested) = self.open_requests.remove(number) else {
            return pages::message(400, "Too late", "This question is answered already.");
        };
        self.decide(issuer, requested, request.form("decision") == Some("allow"))
    }

    /// The authorization response (RFC 6749 s4.1.2).
    fn decide(&mut self, issuer: &str, requested: Requested, is_allowed: bool) -> Answer {
        let (redirect_uri, state) = (requested.redirect_uri.clone(), requested.state.clone());
        let mut fields = if is_allowed {
            vec![("code".to_owned(), self.grants.issue_code(requested))]
        } else {
            let description = "the user said no".to_owned();
            vec![("error".to_owned(), "access_denied".to_owned()), ("error_description".to_owned(), description)]
        };
        fields.push(("state".to_owned(), state));
        if self.settings.iss {
            fields.push(("iss".to_owned(), issuer.to_owned()));
        }
        fields.extend(self.settings.redirect_fields.iter().cloned());
        let mark = if redirect_uri.contains('?') { '&' } else { '?' };
        Answer::redirect(302, &format!("{redirect_uri}{mark}{}", encode_form(&fields)))
    }

    fn on_token(&mut self, request: &Request) -> Answer {
        let client_id = match self.authenticate(request) {
            Ok(client_id) => client_id,
            Err(refusal) => return *refusal,
        };
        let field = |name: &str| request.form(name).unwrap_or_default();
        let settings = self.settings.clone();
        let issued = match field("grant_type") {
            "authorization_code" => {
                let (redirect_uri, code_verifier) = (field("redirect_uri"), field("code_verifier"));
                self.grants.redeem(&settings, &client_id, field("code"), redirect_uri, code_verifier)
            }
            "refresh_token" => self.grants.refresh(&settings, &client_id, field("refresh_token")),
            DEVICE_GRANT => self.grants.poll_device(&settings, &client_id, field("device_code")),
            "client_credentials" if settings.client_secret.is_some() => {
                let scope = request.form("scope").map(str::to_owned);
                Ok(self.grants.issue_to_client(&settings, &client_id, scope))
            }
            "client_credentials" => Err(Box::new(Answer::error(400, "unauthorized_client", "a public client"))),
            _ => Err(Box::new(Answer::error(400, "unsupported_grant_type", "no such grant here"))),
        };
        match issued {
            Ok(issued) => self.token_answer(&issued),
            Err(refusal) => *refusal,
        }
    }

    fn token_answer(&self, issued: &Issued) -> Answer {
        let mut fields = serde_json::Map::new();
        fields.insert("access_token".to_owned(), json!(issued.access_token));
        fields.insert("token_type".to_owned(), json!("Bearer"));
        let optional = [
            ("expires_in", self.settings.expires_in.map(Value::from)),
            ("refresh_token", issued.refresh_token.clone().map(Value::from)),
            ("scope", issued.scope.clone().map(Value::from)),
        ];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        fields.extend(self.settings.token_fields.clone());
        Answer::json(200, &Value::Object(fields)).header("Pragma", "no-cache")
    }

    /// The device authorization endpoint (RFC 8628 s3.1, s3.2).
    fn on_device(&mut self, issuer: &str, request: &Request) -> Answer {
        let client_id = match self.authenticate(request) {
            Ok(client_id) => client_id,
            Err(refusal) => return *refusal,
        };
        let scope = request.form("scope").map(str::to_owned);
        let settings = self.settings.clone();
        let (device_code, user_code) = self.grants.start_device(&settings, &client_id, scope);
        let mut body = json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": format!("{issuer}/activate"),
            "verification_uri_complete": format!("{issuer}/activate?user_code={user_code}"),
            "expires_in": settings.device_expires_in,
        });
        if let Some(interval) = settings.device_interval {
            body["interval"] = json!(interval);
        }
        Answer::json(200, &body)
    }

    fn on_activate(&mut self, request: &Request) -> Answer {
        let is_allowed = request.form("decision") == Some("allow");
        if !self.grants.decide_device(request.form("user_code").unwrap_or_default(), is_allowed) {
            return pages::message(400, "Unknown code", "No device waits for this code. Look at it once more.");
        }
        match is_allowed {
            true => pages::message(200, "Connected", "Your device has access now. You can close this page."),
            false => pages::message(200, "Denied", "Your device gets no access. You can close this page."),
        }
    }

    /// The revocation endpoint, which answers 200 for unknown tokens too (RFC 7009 s2.2).
    fn on_revoke(&mut self, request: &Request) -> Answer {
        if let Err(refusal) = self.authenticate(request) {
            return *refusal;
        }
        let Some(token) = request.form("token") else {
            return Answer::error(400, "invalid_request", "missing parameter token");
        };
        self.grants.revoke(token);
        Answer::new(200, "text/plain", "")
    }

    /// A protected resource (RFC 6750 s2.1).
    fn on_whoami(&self, request: &Request) -> Answer {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some((client_id, scope)) = token.and_then(|token| self.grants.bearer(token)) else {
            let answer = Answer::error(401, "invalid_token", "this access token does not count");
            return answer.header("WWW-Authenticate", "Bearer error=\"invalid_token\"");
        };
        Answer::json(200, &json!({ "client_id": client_id, "scope": scope }))
    }

    /// Metadata (RFC 8414 s2, OpenID Connect Discovery s3).
    fn metadata(&self, issuer: &str) -> Value {
        let method = match (self.settings.client_auth, &self.settings.client_secret) {
            (ClientAuth::Post, None) => "none",
            (ClientAuth::Post, Some(_)) => "client_secret_post",
            (ClientAuth::Basic, _) => "client_secret_basic",
        };
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "device_authorization_endpoint": format!("{issuer}/device"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", DEVICE_GRANT],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [method],
            "authorization_response_iss_parameter_supported": self.settings.iss,
        })
    }

    fn knows(&self, client_id: &str) -> bool {
        self.settings.client_ids.is_empty() || self.settings.client_ids.iter().any(|known| known == client_id)
    }

    /// Finds out which client asks, and whether it is the one it says (RFC 6749 s2.3.1).
    fn authenticate(&self, request: &Request) -> Result<String, Box<Answer>> {
        let refuse = |description: &str| {
            let answer = Answer::error(401, "invalid_client", description);
            Err(Box::new(answer.header("WWW-Authenticate", "Basic realm=\"demo provider\"")))
        };
        let (client_id, secret) = match (self.settings.client_auth, request.header("authorization")) {
            (ClientAuth::Post, Some(_)) => return refuse("client_secret_basic is not enabled"),
            (ClientAuth::Post, None) => (request.form("client_id").map(str::to_owned), request.form("client_secret")),
            (ClientAuth::Basic, None) => return refuse("client_secret_basic is required"),
            (ClientAuth::Basic, Some(_)) if request.form("client_secret").is_some() => {
                return refuse("more than one client authentication");
            }
            (ClientAuth::Basic, Some(value)) => match basic(value) {
                Some((client_id, secret)) if Some(secret.as_str()) == self.settings.client_secret.as_deref() => {
                    (Some(client_id), self.settings.client_secret.as_deref())
                }
                _ => return refuse("malformed Basic credentials, or a wrong secret"),
            },
        };
        let Some(client_id) = client_id.filter(|client_id| self.knows(client_id)) else {
            return refuse("unknown client_id");
        };
        if secret != self.settings.client_secret.as_deref() {
            return refuse("wrong client_secret");
        }
        Ok(client_id)
    }
}

/// Reads Basic credentials whose two parts are form-encoded before base64.
fn basic(header: &str) -> Option<(String, String)> {
    let bytes = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (client_id, secret) = text.split_once(':')?;
    let decode = |part: &str| parse_form(&format!("x={part}")).pop().map(|(_, value)| value);
    Some((decode(client_id)?, decode(secret)?))
}
