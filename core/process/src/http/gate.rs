//! A port with [`Doors`]: accepts, and tells those who must go.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::doors::{Doors, Knock, Limits, Ticket, Welcome};

/// The doors of one port. Clones share them.
///
/// ```
/// # use longshore_process::{Group, http::{Gate, Limits}};
/// # async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// let gate = Gate::new(Limits::default());
/// let mut connections = Group::new("connection", Limits::default().connections);
/// loop {
///     let (stream, _address, visit) = gate.accept(&listener).await?;
///     connections.spawn(async move {
///         tokio::select! {
///             () = visit.over() => {} // it waited too long, or makes room for another
///             () = async {
///                 // … the handshake, and then, if there is a certificate:
///                 visit.known("system:node:n1");
///                 let busy = visit.busy(); // a request is under way until this is dropped
///                 drop((stream, busy));
///             } => {}
///         }
///     });
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inside: Mutex<Inside>,
    /// Somebody left or made room.
    changed: Notify,
    limits: Limits,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Inside {
    doors: Doors,
    /// How each one is told to go.
    told: HashMap<Ticket, Arc<Notify>>,
}

impl Gate {
    /// Nobody is in.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            inside: Mutex::new(Inside {
                doors: Doors::new(limits),
                told: HashMap::new(),
            }),
            changed: Notify::new(),
            limits,
            refused: AtomicU64::new(0),
        }))
    }

    /// The next connection that may come in. While this is waited for, those whose
    /// time is over are told so. Cancel safe.
    ///
    /// # Errors
    /// What the system says, for example that no file descriptor is left.
    pub async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, Visit)> {
        loop {
            let (open, wake) = self.0.tidy();
            tokio::select! {
                accepted = listener.accept(), if open => {
                    let (stream, address) = accepted?;
                    match self.knock(address.ip()) {
                        Some(visit) => return Ok((stream, address, visit)),
                        None => drop(stream),
                    }
                }
                () = self.0.changed.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Connections at this time, and strangers among them.
    pub fn count(&self) -> (usize, usize) {
        self.0.inside().doors.count()
    }

    /// Connections that were refused or told to go, since the start.
    pub fn turned_away(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn knock(&self, address: IpAddr) -> Option<Visit> {
        let shared = &self.0;
        let mut inside = shared.inside();
        let ticket = match inside.doors.knock(address, Instant::now()) {
            Knock::In(ticket) => ticket,
            Knock::Instead { ticket, of } => {
                shared.tell(&mut inside, of);
                ticket
            }
            Knock::Refused(why) => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%address, %why, "a connection was refused");
                return None;
            }
        };
        let told = Arc::new(Notify::new());
        inside.told.insert(ticket, Arc::clone(&told));
        Some(Visit(Arc::new(Stay {
            shared: Arc::clone(shared),
            ticket,
            told,
        })))
    }
}

impl Shared {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who are overdue; gives whether the next one may be accepted, and
    /// when to look again.
    fn tidy(&self) -> (bool, Option<Instant>) {
        let now = Instant::now();
        let mut inside = self.inside();
        for ticket in inside.doors.overdue(now) {
            self.tell(&mut inside, ticket);
        }
        let ready = inside.doors.ready(now);
        let open = ready <= now;
        // Whoever ends a request begins to wait without a word, so it is looked
        // at least so often while somebody is in.
        let somebody = inside.doors.count().0 > 0;
        let look = somebody.then(|| now + self.limits.stranger_wait);
        let over = inside.doors.next_overdue();
        let next = [look, over, (!open).then_some(ready)];
        (open, next.into_iter().flatten().min())
    }

    fn tell(&self, inside: &mut Inside, ticket: Ticket) {
        if let Some(told) = inside.told.remove(&ticket) {
            told.notify_one();
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// One connection's stay. Clones share it; it ends with the last of them, and of
/// what [`Visit::busy`] gave.
#[derive(Debug, Clone)]
pub struct Visit(Arc<Stay>);

#[derive(Debug)]
struct Stay {
    shared: Arc<Shared>,
    ticket: Ticket,
    told: Arc<Notify>,
}

impl Visit {
    /// Waits until this connection must go. For one task at a time.
    pub async fn over(&self) {
        self.0.told.notified().await;
    }

    /// The handshake is over, and showed nobody.
    pub fn shook(&self) {
        self.0.shared.inside().doors.shook(self.0.ticket);
    }

    /// It has shown who it is: a certificate or a token that holds. Where it has
    /// one connection too many, it is told to go. Saying it again does nothing.
    pub fn known(&self, who: &str) {
        let Stay { shared, ticket, .. } = &*self.0;
        let mut inside = shared.inside();
        match inside.doors.known(*ticket, who, Instant::now()) {
            Welcome::Stays => {}
            Welcome::Instead(of) => shared.tell(&mut inside, of),
            Welcome::Goes => {
                tracing::debug!(who, "a connection too many of one identity is closed");
                shared.tell(&mut inside, *ticket);
            }
        }
        drop(inside);
        shared.changed.notify_one();
    }

    /// A request is under way until what this gives is dropped.
    pub fn busy(&self) -> Busy {
        self.0.shared.inside().doors.begins(self.0.ticket);
        Busy(Arc::clone(&self.0))
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut inside = self.shared.inside();
        inside.doors.left(self.ticket);
        inside.told.remove(&self.ticket);
        drop(inside);
        self.shared.changed.notify_one();
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct Busy(Arc<Stay>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut inside = self.0.shared.inside();
        inside.doors.ends(self.0.ticket, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_newcomer_displaces_who_is_silent_and_nobody_else() {
        let limits = Limits {
            strangers: 2,
            address: 2,
            young: Duration::ZERO,
            ..Limits::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate::new(limits);
        let mut clients = Vec::new();
        let mut visits = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
            let (stream, _, visit) = gate.accept(&listener).await.unwrap();
            if visits.is_empty() {
                visit.known("admin");
            }
            visits.push((stream, visit));
        }
        assert_eq!((gate.count(), gate.turned_away()), ((3, 2), 0));
        clients.push(TcpStream::connect(address).await.unwrap());
        let (_stream, _, last) = gate.accept(&listener).await.unwrap();
        visits[1].1.over().await;
        assert_eq!((gate.count(), gate.turned_away()), ((3, 2), 1));
        let busy = last.busy();
        drop((visits, last));
        assert_eq!(gate.count(), (1, 1), "a request under way is a connection");
        drop(busy);
        assert_eq!(gate.count(), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told() {
        let limits = Limits {
            stranger_wait: Duration::ZERO,
            ..Limits::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate::new(limits);
        let _client = TcpStream::connect(address).await.unwrap();
        let (_stream, _, visit) = gate.accept(&listener).await.unwrap();
        tokio::select! {
            _ = gate.accept(&listener) => panic!("nobody else comes"),
            () = visit.over() => {}
        }
    }
}
