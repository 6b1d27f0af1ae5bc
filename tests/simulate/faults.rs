//! Faults planted between the engine and the world, to show that the oracle would see them.

use std::time::Duration;

use pizauth::{
    engine::{ChildEnd, Effect, Event, Hook, Now, Page, Time},
    oauth::Reply,
    proto::Response,
    secret::Secret,
};

use super::provider::{field, without_refresh_token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The engine never sees a rotated refresh token.
    DropRotatedToken,
    /// A refresh is sent twice.
    RefreshTwice,
    /// A code is sent twice.
    ExchangeTwice,
    /// A poll is sent twice.
    PollTwice,
    /// What an account without user asks for never leaves.
    LoseClientCredentials,
    /// Some answers to clients are lost.
    ForgetWaiter,
    /// Some answers to clients are given twice.
    AnswerTwice,
    /// A save that is asked for is not done.
    LoseSave,
    /// A failed save is taken for a good one.
    BelieveFailedSave,
    /// What is saved is nothing.
    SaveNothing,
    /// What was saved is not read at start.
    RestoreNothing,
    /// A failed restore is taken for an empty store.
    UnsealAfterFailure,
    /// Answers of endpoints are lost after they came.
    LoseAnswer,
    /// A request that was answered by 503 is taken for refused.
    TakeTransientForEnd,
    /// `show` sees a clock that stands still.
    StopClock,
    /// Deadlines pass unnoticed.
    SleepThroughDeadlines,
    /// Deadlines are noticed two hours late.
    Oversleep,
    /// A reload changes what tokens are bound to.
    ReloadChangesAccounts,
    /// What is to be revoked is never told to the provider.
    DropRevocation,
    /// Pages never get their outcome.
    LosePage,
    /// The process does not end.
    NeverExit,
    /// Connections that are gone are answered.
    AnswerTheGone,
}

pub const ALL: [Fault; 22] = [
    Fault::DropRotatedToken,
    Fault::RefreshTwice,
    Fault::ExchangeTwice,
    Fault::PollTwice,
    Fault::LoseClientCredentials,
    Fault::ForgetWaiter,
    Fault::AnswerTwice,
    Fault::LoseSave,
    Fault::BelieveFailedSave,
    Fault::SaveNothing,
    Fault::RestoreNothing,
    Fault::UnsealAfterFailure,
    Fault::LoseAnswer,
    Fault::TakeTransientForEnd,
    Fault::StopClock,
    Fault::SleepThroughDeadlines,
    Fault::Oversleep,
    Fault::ReloadChangesAccounts,
    Fault::DropRevocation,
    Fault::LosePage,
    Fault::NeverExit,
    Fault::AnswerTheGone,
];

/// What becomes of an effect on its way out: nothing, itself, or twice that.
pub fn spoil_effect(fault: Option<Fault>, effect: &mut Effect) -> usize {
    match (fault, effect) {
        (Some(Fault::RefreshTwice), Effect::Call { call, .. }) if field(call, "refresh_token").is_some() => 2,
        (Some(Fault::ExchangeTwice), Effect::Call { call, .. }) if field(call, "code").is_some() => 2,
        (Some(Fault::PollTwice), Effect::Call { call, .. }) if field(call, "device_code").is_some() => 2,
        (Some(Fault::LoseClientCredentials), Effect::Call { call, .. })
            if field(call, "grant_type").as_deref() == Some("client_credentials") =>
        {
            0
        }
        (Some(Fault::ForgetWaiter), Effect::Respond { response: Response::Token(_), conn }) if conn.0 % 3 == 0 => 0,
        (Some(Fault::AnswerTwice), Effect::Respond { conn, .. }) if conn.0 % 3 == 0 => 2,
        (Some(Fault::DropRevocation), Effect::Call { call, .. }) if call.uri.ends_with("/revoke") => 0,
        (Some(Fault::LosePage), Effect::Page { page: Page::Outcome(_), .. }) => 0,
        (Some(Fault::NeverExit), Effect::Exit(_)) => 0,
        (Some(Fault::SaveNothing), Effect::Run { run, .. }) if run.hook == Hook::Persist => {
            run.stdin = Some(pizauth::oauth::dump::write(&[], &mut |bytes| bytes.fill(7)));
            1
        }
        _ => 1,
    }
}

/// Whether an event still reaches the engine, and as what.
pub fn spoil_event(fault: Option<Fault>, event: &mut Event, hook: Option<Hook>) -> bool {
    match (fault, event) {
        (Some(Fault::DropRotatedToken), Event::Answer { outcome: Ok(Reply { body, .. }), .. }) => {
            *body = without_refresh_token(body);
            true
        }
        (Some(Fault::TakeTransientForEnd), Event::Answer { outcome: Ok(reply), .. }) if reply.status == 503 => {
            *reply = super::provider::reply(400, r#"{"error":"invalid_grant"}"#);
            true
        }
        (Some(Fault::LoseAnswer), Event::Answer { ticket, outcome: Ok(_) }) => ticket.0 % 2 == 0,
        (Some(Fault::ReloadChangesAccounts), Event::Staged { result: Ok(staging), .. }) => {
            staging.config.accounts.iter_mut().for_each(|account| account.client_id.push('x'));
            true
        }
        (Some(Fault::AnswerTheGone), Event::Gone { .. }) => false,
        (Some(Fault::BelieveFailedSave), Event::Exited { end, .. }) if hook == Some(Hook::Persist) => {
            *end = ChildEnd::Exited { status: 0, stdout: Secret::default() };
            true
        }
        (Some(Fault::RestoreNothing), Event::Exited { end: ChildEnd::Exited { status: 0, stdout }, .. })
            if hook == Some(Hook::Restore) =>
        {
            *stdout = Secret::default();
            true
        }
        (Some(Fault::UnsealAfterFailure), Event::Exited { end, .. }) if hook == Some(Hook::Restore) => {
            if !matches!(end, ChildEnd::Exited { status: 0, .. }) {
                *end = ChildEnd::Exited { status: 0, stdout: Secret::default() };
            }
            true
        }
        _ => true,
    }
}

/// The time that the engine is told.
pub fn spoil_time(fault: Option<Fault>, event: &Event, started: Time, now: Now) -> Now {
    match (fault, event) {
        (Some(Fault::StopClock), Event::Request { .. }) => Now { time: started, ..now },
        _ => now,
    }
}

/// When a deadline is noticed, if at all.
pub fn spoil_deadline(fault: Option<Fault>, deadline: Time) -> Option<Time> {
    match fault {
        Some(Fault::SleepThroughDeadlines) => None,
        Some(Fault::Oversleep) => Some(deadline + Duration::from_secs(7200)),
        _ => Some(deadline),
    }
}
