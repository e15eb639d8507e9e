//! Everything that a command works with: the store, the registry client, the runner and the display.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop_builder::Engine;
use orlop_builder::event::{Event, Observer, Progress};
use orlop_builder::transfer;
use orlop_registry_client::{Client, NoticeObserver, Retry, RetryObserver, Stop};
use orlop_runner::CancelToken;
use orlop_store::store::Driver;
use orlop_store::trace::Trace;
use orlop_store::{Reference, Store, StoreOptions};

use crate::diagnostics::Failure;
use crate::global::{Global, StorageDriver};
use crate::progress::{Display, Mode};
use crate::startup::Host;
use crate::system::{self, HostRunner, interrupt};
use crate::{config, quantity};

/// The flags of every command, and the machine.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) host: Host,
}

impl App {
    /// The same, with the registries of `names` trusted whatever they speak.
    pub(crate) fn trusting(&self, names: &[Reference]) -> Self {
        let mut global = self.global.clone();
        let registries = config::registries().unwrap_or_default();
        for name in names {
            let meant = registries.short_name(name).ok().flatten().map(|meant| meant.names);
            let all = meant.unwrap_or_else(|| vec![name.clone()]);
            global.insecure_registries.extend(all.iter().map(|name| name.domain().to_owned()));
        }
        Self { global, host: self.host.clone() }
    }

    /// The name or ID by which what `text` means is in the store: a short name may stand there for what
    /// `registries.conf` made of it when it was pulled.
    pub(crate) fn here(&self, store: &Store, text: &str) -> Result<String, Failure> {
        let Ok(name) = text.parse::<Reference>() else { return Ok(text.to_owned()) };
        if !name.is_short() {
            return Ok(text.to_owned());
        }
        // Where it is not clear what is meant, nothing was pulled by that name.
        let meant = config::registries().unwrap_or_default().short_name(&name).unwrap_or_default();
        let found = meant.and_then(|meant| transfer::here(store, &meant));
        Ok(found.map_or_else(|| text.to_owned(), |found| found.to_string()))
    }

    /// Opens the store.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        self.store_traced(Trace::none())
    }

    fn store_traced(&self, trace: Trace) -> Result<Store, Failure> {
        let driver = match self.global.storage_driver {
            None => Driver::Auto,
            Some(StorageDriver::Overlay) => Driver::Overlay,
            Some(StorageDriver::Copy) => Driver::Copy,
        };
        let root = config::store_root(&self.global, self.host.root)?;
        let options = StoreOptions {
            xattrs: self.host.xattrs,
            ownership: self.host.ownership,
            driver,
            ..StoreOptions::default()
        };
        Ok(Store::open_traced(&root, &options, trace)?)
    }

    /// Opens everything.
    pub(crate) fn session(&self, mode: Mode) -> Result<Session, Failure> {
        self.session_traced(mode, Trace::none())
    }

    /// The same; `trace` is told what takes time.
    pub(crate) fn session_traced(&self, mode: Mode, trace: Trace) -> Result<Session, Failure> {
        let cancel = CancelToken::new();
        let interrupted = interrupt::watch(&cancel)?;
        let display: Arc<dyn Display> = mode.display().into();
        let store = self.store_traced(trace)?;
        for text in self.host.note.iter().chain(store.notes()) {
            display.event(Event::Warning { text: text.clone(), span: None, hint: None, rule: None });
        }
        let client = client(&self.global, &display, &interrupted)?;
        Ok(Session { store, client, runner: system::runner(), display, cancel, interrupted })
    }
}

/// A client that tells on `display` what it tries again and what registries have to say.
pub(crate) fn client(
    global: &Global,
    display: &Arc<dyn Display>,
    interrupted: &Arc<AtomicBool>,
) -> Result<Client, Failure> {
    let warn = |display: &Arc<dyn Display>, text: String| {
        display.event(Event::Warning { text, span: None, hint: None, rule: None });
    };
    let told = Arc::clone(display);
    let on_retry = RetryObserver::new(move |retry| warn(&told, waiting(retry)));
    let told = Arc::clone(display);
    let mut settings = config::client(global, on_retry)?;
    settings.on_notice = NoticeObserver::new(move |text| warn(&told, text.to_owned()));
    let asked = Arc::clone(interrupted);
    settings.stop = Stop::new(move || asked.load(Ordering::Acquire));
    for text in settings.hosts.registries.warnings() {
        warn(display, text.clone());
    }
    Ok(Client::new(settings))
}

/// What is told of a request that is tried again.
pub(crate) fn waiting(retry: &Retry) -> String {
    let asked = if retry.asked { ", as the registry asks" } else { "" };
    format!(
        "{}; trying again in {}{asked} ({} of {})",
        retry.error,
        quantity::duration(retry.wait),
        retry.attempt,
        retry.of
    )
}

/// What one command works with.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) runner: HostRunner,
    pub(crate) display: Arc<dyn Display>,
    pub(crate) cancel: CancelToken,
    interrupted: Arc<AtomicBool>,
}

impl Session {
    /// It as the library takes it.
    pub(crate) fn engine(&self) -> Engine<'_> {
        Engine {
            store: &self.store,
            registry: &self.client,
            runner: &self.runner,
            observer: self.observer(),
            cancel: &self.cancel,
        }
    }

    /// Tells the user something that matters.
    pub(crate) fn warn(&self, text: &str) {
        self.display.event(Event::Warning { text: text.to_owned(), span: None, hint: None, rule: None });
    }

    fn observer(&self) -> &dyn Observer {
        &*self.display
    }

    /// Runs `act` with progress; the screen is left in order whatever comes of it.
    pub(crate) fn work<T, E: Into<Failure>>(
        &self,
        act: impl FnOnce(&Engine<'_>, &Progress<'_>) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let engine = self.engine();
        let progress = Progress::new(engine.observer).with_trace(self.store.trace());
        let result = act(&engine, &progress);
        self.display.finish();
        match result {
            // Whatever broke when everything was told to stop, that is why it did.
            Err(_) if self.interrupted.load(Ordering::Acquire) => Err(Failure::interrupted()),
            other => other.map_err(Into::into),
        }
    }
}
