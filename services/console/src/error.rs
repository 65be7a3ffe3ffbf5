//! Why there is nothing to show.

use std::io;

use jtav_text::terminal::one_line;

/// Characters of somebody else's message that are shown.
const MESSAGE_CHARS: usize = 300;

/// What went wrong between us and a server, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The address is none.
    #[error("{address} is no address such as {example}: {why}")]
    Address {
        /// As it was given, made visible.
        address: String,
        /// One that is.
        example: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The key cannot be read or sent.
    #[error("the key {0}")]
    Key(String),
    /// Nobody answers, or the answer broke off.
    #[error("{server} does not answer: {why}; is {what} running there? {hint}")]
    Unreachable {
        /// Who was asked.
        server: String,
        /// What became of it.
        why: String,
        /// Which program should.
        what: &'static str,
        /// How to name another one.
        hint: &'static str,
    },
    /// The server refuses, or knows nothing of what was asked.
    #[error("{}", refusal(.0))]
    Refused(Box<Refusal>),
    /// The answer is not what this program reads.
    #[error("{server} answers something else than is expected ({why}); is it {what} of this version?")]
    Unreadable {
        /// Who was asked.
        server: String,
        /// What is wrong.
        why: String,
        /// Which program should.
        what: &'static str,
    },
    /// The answer is larger than is read.
    #[error("{server} answers with more than {max_bytes} bytes")]
    TooLarge {
        /// Who was asked.
        server: String,
        /// The most that is read.
        max_bytes: usize,
    },
    /// The terminal cannot be had, or the output cannot be written.
    #[error("the output: {0}")]
    Output(#[from] io::Error),
}

/// A refusal as RFC 9457 tells it, made visible.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// Who was asked.
    pub server: String,
    /// HTTP status.
    pub status: u16,
    /// Code for programs.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// In the server's log, too.
    pub request_id: Option<String>,
    /// Why a medium is not there.
    pub absent_reason: Option<String>,
    /// What is asked to be waited.
    pub retry_after_seconds: Option<u64>,
}

/// What kind of failure it is, for an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The command line.
    Usage,
    /// What was asked for is not there, or cannot be read.
    Data,
    /// The server is away.
    Unavailable,
    /// The key, or who may ask.
    Settings,
    /// Our own output.
    Output,
}

impl ConsoleError {
    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.status == 429 || refusal.status >= 500,
            Self::Address { .. } | Self::Key(_) | Self::Unreadable { .. } | Self::TooLarge { .. } | Self::Output(_) => {
                false
            }
        }
    }

    /// Whose it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Address { .. } => Fault::Usage,
            Self::Key(_) => Fault::Settings,
            Self::Unreachable { .. } => Fault::Unavailable,
            Self::Refused(refusal) => match refusal.status {
                401 | 403 | 421 => Fault::Settings,
                429 | 500.. => Fault::Unavailable,
                _ => Fault::Data,
            },
            Self::Unreadable { .. } | Self::TooLarge { .. } => Fault::Data,
            Self::Output(_) => Fault::Output,
        }
    }
}

fn refusal(refusal: &Refusal) -> String {
    let Refusal { server, status, reason, detail, request_id, .. } = refusal;
    let advice = match (*status, reason.as_str()) {
        (401, _) => "; give a key with --key-file FILE or in JTAV_KEY",
        (403, "read_only") => "",
        (403, _) => "; ask for a key with a wider scope",
        (421, _) => "; `serve.hosts` adds names that the server may be asked under",
        (429, _) => "; try again in a moment",
        (503, _) => "; a part of the system is away, try again in a moment",
        _ => "",
    };
    let request =
        request_id.as_ref().filter(|_| *status >= 500).map_or_else(String::new, |id| format!(" (request {id})"));
    let said = if detail.is_empty() { "no reason is given" } else { detail };
    let code = if reason.is_empty() { String::new() } else { format!(" {reason}") };
    format!("{server} answers {status}{code}: {said}{advice}{request}")
}

/// Somebody else's words inside a message of ours.
pub(crate) fn told(text: &str) -> String {
    one_line(text.trim(), MESSAGE_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, reason: &str) -> ConsoleError {
        let server = "http://127.0.0.1:9700".to_owned();
        let (reason, detail) = (reason.to_owned(), "why".to_owned());
        let request_id = Some("r1".to_owned());
        ConsoleError::Refused(Box::new(Refusal { server, status, reason, detail, request_id, ..Refusal::default() }))
    }

    #[test]
    fn a_refusal_says_who_what_why_and_what_next() {
        let said = |status, reason| refused(status, reason).to_string();
        assert_eq!(said(404, "unknown_or_lapsed"), "http://127.0.0.1:9700 answers 404 unknown_or_lapsed: why");
        assert!(said(401, "key_missing").ends_with(": why; give a key with --key-file FILE or in JTAV_KEY"));
        assert!(said(500, "internal").ends_with("(request r1)"));
    }

    #[test]
    fn a_fault_is_whose_it_is_and_only_a_server_that_is_away_is_asked_again() {
        let faults = [400, 401, 403, 404, 410, 421, 429, 503].map(|status| refused(status, "").fault());
        use Fault::{Data, Settings, Unavailable};
        assert_eq!(faults, [Data, Settings, Settings, Data, Data, Settings, Unavailable, Unavailable]);
        let again: Vec<u16> =
            [400, 404, 429, 500, 503].into_iter().filter(|status| refused(*status, "").is_retryable()).collect();
        assert_eq!(again, [429, 500, 503]);
    }
}
