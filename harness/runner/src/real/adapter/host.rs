//! The adapter of a run: started with its first user, and again only after it died.

use core::time::Duration;
use std::path::{Path, PathBuf};

use fotaproof_adapter::Operation;
use fotaproof_cases::manifest::Manifest;
use tokio::sync::Mutex;

use super::{Adapter, AdapterError, AdapterLaunch, Farewell};
use crate::real::launch::{absolute, filled, resolve};
use crate::real::{Placeholders, fill};

/// Starts in a row that came to no hello, after which the adapter is given up.
const FRUITLESS: u32 = 3;
/// Starts in a run.
const STARTS: u32 = 50;
/// Time for operations that need no device.
const OWN: Duration = Duration::from_secs(60);
/// Time for operations that wait for a device: longer than any exchange of CoAP takes (MAX_TRANSMIT_WAIT is 93 s, EXCHANGE_LIFETIME
/// 247 s, RFC 7252 section 4.8.2).
const DEVICE: Duration = Duration::from_secs(300);
/// Time for transfers.
const TRANSFER: Duration = Duration::from_secs(1800);

/// The adapter of a run.
#[derive(Debug)]
pub struct AdapterHost {
    launch: AdapterLaunch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    adapter: Option<Adapter>,
    starts: u32,
    fruitless: u32,
    last: Option<AdapterError>,
    /// How it ended while nobody used it, until that is told.
    idle: Option<AdapterError>,
}

impl AdapterHost {
    /// For this adapter, which is not started yet.
    #[must_use]
    pub fn new(launch: AdapterLaunch) -> Self {
        Self {
            launch,
            state: Mutex::default(),
        }
    }

    /// A host of the same adapter for one user, who may kill it.
    #[must_use]
    pub fn apart(&self, log: Option<PathBuf>) -> Self {
        Self::new(AdapterLaunch {
            log,
            ..self.launch.clone()
        })
    }

    /// The adapter, started if it is not there or died.
    ///
    /// # Errors
    /// When it does not start, or was started too often.
    pub async fn get(&self) -> Result<Adapter, AdapterError> {
        let mut state = self.state.lock().await;
        if let Some(adapter) = &state.adapter
            && adapter.gone().is_none()
        {
            return Ok(adapter.clone());
        }
        if let Some(dead) = state.adapter.take() {
            state.last = dead.gone();
            if dead.ended_idle() {
                state.idle = dead.gone();
            }
        }
        if (state.fruitless >= FRUITLESS || state.starts >= STARTS)
            && let Some(last) = &state.last
        {
            return Err(last.clone());
        }
        state.starts += 1;
        match Adapter::start(&self.launch).await {
            Ok(adapter) => {
                state.fruitless = 0;
                state.adapter = Some(adapter.clone());
                Ok(adapter)
            }
            Err(error) => {
                state.fruitless += 1;
                state.last = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The adapter, for one who saw that it ended and has told so.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn again(&self) -> Result<Adapter, AdapterError> {
        let adapter = self.get().await;
        self.obituary().await;
        adapter
    }

    /// How often it was started.
    pub async fn starts(&self) -> u32 {
        self.state.lock().await.starts
    }

    /// How it ended while nobody used it, as between two cases; told once. A death that a case saw is that case's to tell.
    pub async fn obituary(&self) -> Option<AdapterError> {
        self.state.lock().await.idle.take()
    }

    /// Ends it in order, if it runs.
    pub async fn quit(&self, within: Duration) -> Option<Farewell> {
        let adapter = self.state.lock().await.adapter.take()?;
        match adapter.gone() {
            Some(gone) => adapter.ended_idle().then(|| Farewell {
                replied: Ok(()),
                status: format!("before it was told to: {gone}"),
                success: false,
                left: adapter.left(),
            }),
            None => Some(adapter.quit(within).await),
        }
    }
}

/// How the adapter of a manifest is started; none when it has no `adapter`.
///
/// Placeholders: `{manifest}`, `{root}`, `{state}` (the folder for what it writes), `{fotaproof}` (this program).
#[must_use]
pub fn launch_of(manifest: &Manifest, manifest_folder: &Path, root: &Path, state: &Path) -> Option<AdapterLaunch> {
    let command = manifest.adapter.as_ref()?;
    let folder = absolute(manifest_folder);
    let values = Placeholders::new()
        .with_path("manifest", &folder)
        .with_path("root", &absolute(root))
        .with_path("state", &absolute(state));
    let values = match std::env::current_exe() {
        Ok(program) => values.with_path("fotaproof", &program),
        Err(_) => values,
    };
    let mut words = filled(&command.value, &values);
    if let Some(program) = words.first_mut() {
        *program = resolve(program, &folder);
    }
    let environment = manifest
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), fill(value, &values)))
        .collect();
    Some(AdapterLaunch {
        command: words,
        folder: match &manifest.work_folder {
            Some(own) => folder.join(fill(&own.value, &values)),
            None => folder,
        },
        environment,
        log: None,
        faketime: false,
        ready: manifest.adapter_ready.map_or(super::READY, |span| span.0),
    })
}

/// How long the reply to an operation is waited for. It is generous: an adapter that takes as long hangs.
#[must_use]
pub const fn time_for(operation: &Operation) -> Duration {
    match operation {
        Operation::AwaitRegistered { timeout_ms, .. } => {
            Duration::from_millis(*timeout_ms).saturating_add(Duration::from_secs(10))
        }
        Operation::Read { .. }
        | Operation::Write { .. }
        | Operation::Execute { .. }
        | Operation::Observe { .. }
        | Operation::Cancel { .. }
        | Operation::Discover { .. }
        | Operation::WriteAttributes { .. } => DEVICE,
        Operation::WriteBlocks { .. } => TRANSFER,
        _ => OWN,
    }
}
