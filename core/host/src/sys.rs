#![allow(unsafe_code)] // Calls libc where the standard library has no words for it.
//! What this crate asks of Linux.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    time::Duration,
};

/// Makes the process that `command` starts die with this one, and inherit no
/// descriptor but the standard three.
///
/// `PR_SET_PDEATHSIG` counts the death of the *thread* that starts the
/// process, so that has to be one which lives as long as the mapper.
pub(crate) fn tie_to_parent(command: &mut Command) {
    let parent = std::process::id();
    let prepare = move || {
        // SAFETY: plain system calls, allowed between fork and exec.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the call above.
            if libc::getppid() as u32 != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            // Kernels before 5.11 do not know this; there, what matters was
            // opened close-on-exec anyway.
            libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, CLOSE_RANGE_CLOEXEC);
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only; it neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// Names this process, as `ps` and `top` show it; cut to 15 bytes.
pub(crate) fn name_process(name: &str) {
    let mut bytes = [0_u8; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: the array ends with a NUL and the kernel copies it.
    unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr()) };
}

/// Whether nothing in the folder may be run, so that no library can be loaded.
pub(crate) fn is_noexec(folder: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(folder.as_os_str().as_bytes()) else {
        return false;
    };
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a NUL and the struct has room; it is read only
    // when the call filled it.
    unsafe {
        libc::statvfs(path.as_ptr(), found.as_mut_ptr()) == 0
            && found.assume_init().f_flag & libc::ST_NOEXEC != 0
    }
}

/// Gives memory that was freed back to the system. The allocator keeps it
/// otherwise, as long as anything behind it is in use.
pub(crate) fn release_free_memory() {
    // SAFETY: the allocator's own function, for any thread at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Takes the code of this program and its libraries out of this process's
/// pages. What is still needed comes back by itself, from the file's pages in
/// the kernel's cache; what only the start needed does not.
pub(crate) fn release_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in maps.lines().filter_map(code_range) {
        // SAFETY: a private mapping of a file that was never writable, so the
        // file has the same bytes and a later access finds them there again.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// The range of a line of `/proc/self/maps` if it is code of a file.
fn code_range(line: &str) -> Option<(usize, usize)> {
    // 55d0c0a00000-55d0c1200000 r-xp 00200000 fe:00 4711   /usr/bin/edgecore
    let mut fields = line.split_whitespace();
    let (range, mode, path) = (fields.next()?, fields.next()?, fields.nth(3)?);
    if mode != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?))
}

/// Takes the socket that the host passed as standard input, and puts
/// `/dev/null` in its place.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    let taken = stdin.as_fd().try_clone_to_owned()?;
    let null = File::open("/dev/null")?;
    // SAFETY: both descriptors are open; standard input is nobody's property.
    if unsafe { libc::dup2(null.as_raw_fd(), stdin.as_raw_fd()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(taken)
}

/// What to wait for on a descriptor, and what came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// Waits until one of the descriptors is ready, for ever without a timeout.
/// Hang-ups and errors count as readable, so that the next read tells them.
pub(crate) fn poll<const N: usize>(
    wanted: [(BorrowedFd<'_>, Ready); N],
    timeout: Option<Duration>,
) -> io::Result<[Ready; N]> {
    let mut descriptors = wanted.map(|(descriptor, ready)| {
        let events = if ready.readable { libc::POLLIN } else { 0 }
            | if ready.writable { libc::POLLOUT } else { 0 };
        libc::pollfd {
            fd: descriptor.as_raw_fd(),
            events,
            revents: 0,
        }
    });
    // Rounded up: a wait of 0.4 ms must not spin.
    let milliseconds = timeout.map_or(-1, |timeout| {
        timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32
    });
    // SAFETY: the array has N elements and outlives the call.
    if unsafe { libc::poll(descriptors.as_mut_ptr(), N as libc::nfds_t, milliseconds) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        return Ok([Ready::default(); N]);
    }
    Ok(descriptors.map(|descriptor| Ready {
        readable: descriptor.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0,
        writable: descriptor.revents & libc::POLLOUT != 0,
    }))
}
