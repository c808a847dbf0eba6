//! Discovery and sessions (OPC 10000-4, 5.5 and 5.7). Security policy None only:
//! tests of the others are for foreign servers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::binary::{Reader, Writer};
use crate::core::{Core, From, Session};
use crate::node_id::NodeId;
use crate::standard::PRODUCT;
use crate::status::StatusCode;
use crate::time::Now;

const POLICY_NONE: &str = "http://opcfoundation.org/UA/SecurityPolicy#None";
const TRANSPORT: &str = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary";

/// A client that asks for more or less gets these.
const SHORTEST_SESSION: f64 = 100.0;
const LONGEST_SESSION: f64 = 3_600_000.0;

/// What the client called the server by, so that it works through a relay too.
fn url(core: &Core, asked: &str) -> String {
    match asked {
        "" => format!("opc.tcp://127.0.0.1{}", core.scenario.server.path),
        asked => asked.to_owned(),
    }
}

/// ApplicationDescription (7.2)
fn application(core: &Core, url: &str, w: &mut Writer) {
    w.string(&core.scenario.server.uri);
    w.string(PRODUCT);
    w.plain_text(&core.scenario.server.name);
    w.i32(0); // a server
    w.nothing();
    w.nothing();
    w.list(&[url], |w, url| w.string(url));
}

/// A list of one EndpointDescription (7.14).
fn endpoints(core: &Core, url: &str, w: &mut Writer) {
    let server = &core.scenario.server;
    w.length(1);
    w.string(url);
    application(core, url, w);
    w.nothing(); // no certificate
    w.i32(1); // no security
    w.string(POLICY_NONE);
    let mut tokens = Vec::new();
    if server.anonymous {
        tokens.push(("anonymous", 0));
    }
    if !server.users.is_empty() {
        tokens.push(("username", 1));
    }
    w.list(&tokens, |w, (policy, kind)| {
        w.string(policy);
        w.i32(*kind);
        w.nothing();
        w.nothing();
        w.string(POLICY_NONE);
    });
    w.string(TRANSPORT);
    w.u8(0);
}

pub(crate) fn find_servers(
    core: &Core,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let url = url(core, &r.string()?);
    w.length(1);
    application(core, &url, w);
    Ok(())
}

pub(crate) fn get_endpoints(
    core: &Core,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let url = url(core, &r.string()?);
    endpoints(core, &url, w);
    Ok(())
}

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    fastrand::fill(&mut nonce);
    nonce
}

pub(crate) fn create(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    r.string()?;
    r.string()?;
    r.localized_text()?;
    r.i32()?;
    r.string()?;
    r.string()?;
    r.list(Reader::string)?;
    r.string()?;
    let url = url(core, &r.string()?);
    r.string()?;
    r.bytes()?;
    r.bytes()?;
    let asked = r.f64()?;
    let most = core.scenario.server.limits.max_sessions;
    if most != 0 && core.sessions.len() >= most as usize {
        return Err(StatusCode::BAD_TOO_MANY_SESSIONS);
    }
    let timeout = match asked.is_finite() {
        true => asked.clamp(SHORTEST_SESSION, LONGEST_SESSION),
        false => LONGEST_SESSION,
    };
    let number = core.number();
    core.record.sessions_created += 1;
    core.sessions.insert(
        number,
        Session {
            connection: from.connection,
            activated: false,
            timeout: Duration::from_secs_f64(timeout / 1000.0),
            last: now.instant,
            publish: VecDeque::new(),
            rests: BTreeMap::new(),
        },
    );
    w.node_id(&NodeId::text(1, &format!("session-{number}")));
    w.node_id(&NodeId::number(1, number));
    w.f64(timeout);
    w.data(&nonce());
    w.nothing();
    endpoints(core, &url, w);
    w.length(0);
    w.nothing(); // no signature
    w.nothing();
    w.u32(0); // requests of any size
    Ok(())
}

pub(crate) fn activate(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    r.string()?;
    r.bytes()?;
    r.list(|r| {
        r.bytes()?;
        r.bytes()
    })?;
    r.list(Reader::string)?;
    let token = r.extension()?;
    identify(core, token.encoding.as_standard(), &token.body)?;
    if let Some(session) = core.sessions.get_mut(&from.session) {
        // On another connection, what waited on the old one waits in vain.
        if session.connection != from.connection {
            session.publish.clear();
        }
        session.connection = from.connection;
        session.activated = true;
    }
    w.data(&nonce());
    w.length(0);
    w.length(0);
    Ok(())
}

/// Anonymous, or a name with its password in the clear (7.41): without security
/// there is nothing to encrypt it with.
fn identify(core: &Core, encoding: Option<u32>, body: &[u8]) -> Result<(), StatusCode> {
    let server = &core.scenario.server;
    match encoding {
        Some(0 | 321) if server.anonymous => Ok(()),
        Some(324) => {
            let mut r = Reader::new(body);
            r.string()?;
            let name = r.string()?;
            let password = r.bytes()?;
            let known = server.users.get(&name);
            match known {
                Some(right) if right.as_bytes() == password => Ok(()),
                _ => Err(StatusCode::BAD_USER_ACCESS_DENIED),
            }
        }
        Some(0 | 321) => Err(StatusCode::BAD_IDENTITY_TOKEN_REJECTED),
        _ => Err(StatusCode::BAD_IDENTITY_TOKEN_INVALID),
    }
}

pub(crate) fn close(core: &mut Core, from: &From, r: &mut Reader<'_>) -> Result<(), StatusCode> {
    let with_subscriptions = r.bool()?;
    core.end_session(from.session, with_subscriptions);
    Ok(())
}
