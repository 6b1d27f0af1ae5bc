//! What stays in memory with one token, behind TLS as in life.

use super::{
    support::{
        control::Control,
        http,
        process::{figures, wait_until_asleep},
        provider::{Provider, Settings},
        server::{Home, Pizauth},
        tls::{Authority, Front, Valid},
    },
    table::{Kind, Row, Unit},
};

/// Refreshes after which the memory is looked at, and after which it must not have grown.
const FEW: usize = 20;
const MANY: usize = 2000;

/// What counts as no growth, in kB: the allocator may take a page or two more for blocks that lie otherwise.
const GROWTH: u64 = 32;

const REFRESH: &[u8] = b"{\"version\":1,\"request\":\"refresh\",\"account\":\"work\",\"wait\":60}\n";

pub fn rows() -> Vec<Row> {
    let provider = Provider::start(Settings::default());
    let authority = Authority::new("an authority");
    let front = Front::start(&authority.leaf("localhost", Valid::Now), &provider.issuer());
    let token_uri = format!("https://localhost:{}/token", front.port());
    let account = provider.account("work", "").replace(&provider.url("/token"), &token_uri);
    let home = Home::new(&format!("ca_file = \"authority.pem\";\n{account}")).quiet();
    home.folder().write("home/.config/authority.pem", &authority.pem());
    let server = Pizauth::start_in(home);
    let page = http::browse(&server.authorization_url("work")).and_then(http::Exchange::finish).expect("a login");
    assert_eq!(page.status, 200, "{}", page.body);

    refresh(&server, FEW);
    let few = figures(server.pid()).expect("/proc");
    refresh(&server, MANY);
    let many = figures(server.pid()).expect("/proc");
    assert_eq!(provider.issued().len(), 1 + FEW + MANY);

    let grown = many.vm_rss.saturating_sub(few.vm_rss);
    let megabytes = |kilobytes: u64| kilobytes as f64 / 1000.0;
    let growth = Row::at_most("  growth over 2,000 refreshes, in kB", grown as f64, GROWTH as f64, Unit::Count);
    vec![
        Row::at_most("memory with one token after 20 refreshes", megabytes(few.vm_rss), 4.0, Unit::Megabytes),
        Row::at_most("  private", megabytes(few.rss_anon), 0.8, Unit::Megabytes),
        Row { kind: Kind::Noisy, ..growth },
        Row::at_most("threads idle", many.threads as f64, 1.0, Unit::Count).counted(),
    ]
}

/// So many refreshes, one after another, and the peace after them.
#[track_caller]
fn refresh(server: &Pizauth, count: usize) {
    let mut control = Control::connect(&server.socket());
    for _ in 0..count {
        assert!(control.send(REFRESH));
        let answer = control.answer().expect("an answer");
        assert_eq!(answer["answer"], "done", "{answer}");
    }
    drop(control);
    wait_until_asleep(server.pid());
}
