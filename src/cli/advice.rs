//! What commands tell while they go on: where to authorise, and what of the input was of no use.

use std::fmt;

/// A line on standard error that ends nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The URL on standard output is for a browser.
    OpenUrl,
    /// The URL and the code on standard output are for any browser.
    EnterCode,
    /// A pasted line is too long.
    PasteTooLong,
    /// A pasted line is no text.
    PasteNotText,
    /// Tokens are missing because they could not be restored.
    StoreSealed {
        /// Why.
        reason: String,
    },
    /// `show` waits for the user.
    WaitingForUrl {
        /// Where to authorise.
        url: String,
    },
    /// `show` waits for the user, who enters a code.
    WaitingForCode {
        /// Where to enter it.
        verification_uri: String,
        /// The code.
        user_code: String,
    },
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Advice::OpenUrl => f.write_str(
                "open this URL in a browser; if the browser ends at a page that cannot be shown, paste its address here",
            ),
            Advice::EnterCode => {
                f.write_str("open the first URL in any browser and enter the code; a second URL has the code in it")
            }
            Advice::PasteTooLong => {
                f.write_str("the pasted line is longer than 16 KiB; paste the redirect URL alone; still waiting")
            }
            Advice::PasteNotText => {
                f.write_str("the pasted line is not text; paste the redirect URL alone; still waiting")
            }
            Advice::StoreSealed { reason } => write!(
                f,
                "saved tokens could not be restored: {reason}; mend that, or give them up with \"pizauth restore \
                 </dev/null\"; until then nothing is saved over them"
            ),
            Advice::WaitingForUrl { url } => write!(f, "waiting until authorised with URL {url}"),
            Advice::WaitingForCode { verification_uri, user_code } => {
                write!(f, "waiting until authorised with URL {verification_uri} and code {user_code}")
            }
        }
    }
}
