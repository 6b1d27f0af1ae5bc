//! Every message of the engine, as the golden file shows them.

use crate::engine::{clause::Clause, message::Message};

/// What the file holds is meant to be read by people, top to bottom.
const GOLDEN: &str = include_str!("../../../tests/golden/messages.txt");

#[test]
fn every_message_is_in_the_golden_file() {
    let mut golden = GOLDEN.lines();
    for message in Message::examples() {
        assert_eq!(Some(message.to_string().as_str()), golden.next(), "tests/golden/messages.txt");
    }
    assert_eq!(golden.next(), None, "tests/golden/messages.txt");
}

#[test]
fn every_clause_is_in_the_golden_file() {
    let clauses: String = Clause::examples().iter().map(|clause| format!("{clause}\n")).collect();
    assert_eq!(clauses, include_str!("../../../tests/golden/clauses.txt"), "tests/golden/clauses.txt");
}

#[test]
fn a_message_is_one_line_that_says_what_to_do_next() {
    for message in Message::examples() {
        let text = message.to_string();
        assert!(!text.contains(['\n', '\r']), "{text}");
        let names = match &message {
            Message::UnknownAccount { .. } => "wrok",
            Message::StoreSealed { .. } | Message::NotSaved { .. } | Message::NotRestored { .. } => "",
            Message::ShuttingDown => "server",
            _ => "work",
        };
        assert!(text.contains(names), "{text}");
        let next = [
            "run \"",
            "try again",
            "tried again",
            "ask once more",
            "\"pizauth",
            "enter code",
            "URL",
            "authoris",
            "revoke it",
            "another dump",
            "add it there",
            "waiting",
        ];
        assert!(next.iter().any(|words| text.contains(words)), "{text}");
    }
}
