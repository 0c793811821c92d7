//! What systemd is told: `sd_notify(3)`, which is one datagram.

use std::{
    cell::Cell,
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    time::{Duration, Instant},
};

/// Who started this process, and what it wants to hear.
pub(super) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that all is well.
    watchdog: Option<Duration>,
    told: Cell<Instant>,
}

impl Supervisor {
    /// As systemd says it in the environment; nobody, where it does not.
    pub(super) fn from_env() -> Self {
        let address = env::var_os("NOTIFY_SOCKET").and_then(|name| match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            _ => SocketAddr::from_pathname(Path::new(&name)).ok(),
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        // Meant for another process, if it names one.
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice as often, so that one late word is no alarm.
        let watchdog = number("WATCHDOG_USEC").filter(|_| mine).map(|us| Duration::from_micros(us / 2));
        Self { socket, watchdog, told: Cell::new(Instant::now()) }
    }

    /// Tells it. A supervisor that does not listen is its own trouble.
    pub(super) fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            let _unheard = socket.send_to_addr(state.as_bytes(), address);
        }
    }

    /// Numbers have come: says so as often as is wanted.
    pub(super) fn alive(&self) {
        if self.watchdog.is_some_and(|often| self.told.get().elapsed() >= often) {
            self.told.set(Instant::now());
            self.tell("WATCHDOG=1");
        }
    }
}
