//! The services, each reading its request and writing its response
//! (OPC 10000-4, section 5).

pub(crate) mod access;
pub(crate) mod monitoring;
pub(crate) mod session;
pub(crate) mod view;

use crate::binary::{Reader, Writer};
use crate::core::{Core, From};
use crate::service::Service;
use crate::status::StatusCode;
use crate::time::Now;

/// Carries a request out. `Ok(false)` means that the answer comes later.
///
/// # Errors
/// The service as a whole is refused with this status.
pub(crate) fn serve(
    core: &mut Core,
    from: &mut From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<bool, StatusCode> {
    use Service as S;
    match from.service {
        S::FindServers => session::find_servers(core, r, w)?,
        S::GetEndpoints => session::get_endpoints(core, r, w)?,
        S::CreateSession => session::create(core, from, r, w, now)?,
        S::ActivateSession => session::activate(core, from, r, w)?,
        S::CloseSession => session::close(core, from, r)?,
        S::Cancel => w.u32(0),
        S::Browse => view::browse(core, from, r, w)?,
        S::BrowseNext => view::browse_next(core, from, r, w)?,
        S::TranslateBrowsePaths => view::translate(core, from, r, w)?,
        S::RegisterNodes => view::register(core, from, r, w)?,
        S::UnregisterNodes => {}
        S::Read => access::read(core, from, r, w, now)?,
        S::Write => access::write(core, from, r, w, now)?,
        S::Call => access::call(core, from, r, w, now)?,
        S::CreateMonitoredItems => monitoring::create_items(core, from, r, w, now)?,
        S::ModifyMonitoredItems => monitoring::modify_items(core, from, r, w, now)?,
        S::SetMonitoringMode => monitoring::set_mode(core, from, r, w, now)?,
        S::DeleteMonitoredItems => monitoring::delete_items(core, from, r, w)?,
        S::CreateSubscription => monitoring::create(core, from, r, w, now)?,
        S::ModifySubscription => monitoring::modify(core, from, r, w)?,
        S::SetPublishingMode => monitoring::set_publishing(core, from, r, w)?,
        S::Publish => {
            monitoring::publish(core, from, r, now)?;
            return Ok(false);
        }
        S::Republish => monitoring::republish(core, from, r, w)?,
        S::TransferSubscriptions => monitoring::transfer(core, from, r, w, now)?,
        S::DeleteSubscriptions => monitoring::delete(core, from, r, w, now)?,
    }
    Ok(true)
}

/// Counts the operations of a request and holds them against a limit; 0 is none.
fn counted(core: &mut Core, from: &From, count: usize, limit: u32) -> Result<(), StatusCode> {
    core.record.operations(from.service, count);
    if count == 0 {
        return Err(StatusCode::BAD_NOTHING_TO_DO);
    }
    if limit != 0 && count > limit as usize {
        return Err(StatusCode::BAD_TOO_MANY_OPERATIONS);
    }
    Ok(())
}

/// One status for each operation, and no diagnostics.
fn results(w: &mut Writer, list: &[StatusCode]) {
    w.list(list, |w, status| w.status(*status));
    w.length(0);
}
