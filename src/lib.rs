//! pizauth requests, shows and refreshes OAuth2 access tokens for programs that run without a browser.
//!
//! The map, for readers. Data goes one way: a file descriptor becomes ready, a parser in [`server`] turns the
//! bytes into an [`engine::Event`], the pure [`engine::Engine`] answers with [`engine::Effect`]s, and the loop
//! performs them. Outcomes come back as further events.
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`cli`] | the command line: one table of commands; clients of the control socket |
//! | [`proto`] | the control protocol: requests and responses as JSON lines |
//! | [`config`] | `pizauth.conf`: lexer, parser, option table, diagnostics |
//! | [`oauth`] | what the RFCs say: requests, answers, redirects, dumps; no state |
//! | [`engine`] | every decision the daemon takes, as pure state machines |
//! | [`server`] | start-up, the loop, sockets, children, helper threads |
//! | [`sys`] | what differs between operating systems; the only `unsafe` |
//!
//! `engine`, `oauth`, `config` and `proto` are pure: time, randomness and all input are arguments.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod engine;
pub mod oauth;
pub mod proto;
pub mod secret;
pub mod server;
pub mod sys;
