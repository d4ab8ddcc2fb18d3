//! A client's process for others than a session: started, watched and ended like the IUT of a case.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use fotaproof_cases::manifest::Manifest;

use super::RealCase;
use super::adapter::Hand;
use super::board::Board;
use super::clock::scaling;
use super::driver::new_mark;
use super::iut::ProcessIut;
use super::launch::{launch, placeholders};
use crate::session::{IutCommand, IutReport};

/// How one instance of an IUT is run: the part of a [`RealCase`] that has nothing to do with its case.
#[derive(Clone, Debug)]
pub struct Instance {
    /// How to run it.
    pub manifest: Arc<Manifest>,
    /// The manifest's folder.
    pub manifest_folder: PathBuf,
    /// The working folder of the run, placeholder `{root}`.
    pub root: PathBuf,
    /// Its own folder, placeholder `{state}`.
    pub folder: PathBuf,
    /// Where its output goes, up to a bound.
    pub output: PathBuf,
    /// Its number, placeholder `{instance}`.
    pub number: u32,
    /// Factor of its clock.
    pub speed: f64,
    /// Registration lifetime in seconds, placeholder `{lifetime}`.
    pub lifetime: u32,
    /// Endpoint name, placeholder `{endpoint}`.
    pub endpoint: String,
}

impl RealCase {
    /// How the IUT of this case is run.
    #[must_use]
    pub fn to_instance(&self) -> Instance {
        Instance {
            manifest: self.manifest.clone(),
            manifest_folder: self.manifest_folder.clone(),
            root: self.root.clone(),
            folder: self.folder.clone(),
            output: self.output.clone(),
            number: self.instance,
            speed: self.speed,
            lifetime: self.lifetime,
            endpoint: self.endpoint.clone(),
        }
    }
}

/// A client that runs, or may be started.
#[derive(Debug)]
pub(crate) struct ClientProcess(Kind);

#[derive(Debug)]
enum Kind {
    /// The harness starts it.
    Process(Box<ProcessIut>),
    /// It is there, or its actions switch it.
    Board(Board),
}

impl ClientProcess {
    /// The client of an instance, not started, that will register with `server`. The hand switches a board, where its adapter can.
    ///
    /// # Errors
    /// When its clock cannot be scaled as asked, or its manifest has neither a command nor a board.
    pub(crate) fn new(instance: Instance, server: SocketAddr, hand: Option<Hand>) -> Result<Self, String> {
        let scaling = scaling(&instance.manifest, instance.speed).map_err(|error| error.to_string())?;
        let values = placeholders(&instance, server);
        match launch(&instance, &values, &scaling, new_mark()) {
            Some(launch) => Ok(Self(Kind::Process(Box::new(ProcessIut::new(
                instance, launch, &scaling,
            ))))),
            None if instance.manifest.board.is_some() => {
                Ok(Self(Kind::Board(Board::new(&instance, &values, hand, true))))
            }
            None => Err("the manifest has neither `command` nor `board`".to_owned()),
        }
    }

    /// Does what is asked; what comes of it is told by [`Self::report`].
    pub(crate) fn command(&mut self, command: IutCommand) {
        match &mut self.0 {
            Kind::Process(process) => process.command(command),
            Kind::Board(board) => board.command(match command {
                // as a new process is, if somebody can
                IutCommand::Start if board.can_be_fresh() => IutCommand::Fresh,
                command => command,
            }),
        }
    }

    /// What happens to it next. Dropping the future loses nothing.
    pub(crate) async fn report(&mut self) -> IutReport {
        match &mut self.0 {
            Kind::Process(process) => process.report().await,
            Kind::Board(board) => board.report().await,
        }
    }

    /// A datagram goes to it; some make it restart.
    pub(crate) fn delivered(&mut self, bytes: &[u8]) {
        if let Kind::Process(process) = &mut self.0 {
            process.delivered(bytes);
        }
    }

    /// It sent something.
    pub(crate) fn heard(&mut self) {
        if let Kind::Process(process) = &mut self.0 {
            process.heard();
        }
    }

    /// Ends it and waits until nothing of it lives; gives what is to be said of that.
    pub(crate) async fn shut_down(&mut self, gracefully: bool) -> Vec<String> {
        match &mut self.0 {
            Kind::Process(process) if process.is_running() => process.shut_down(gracefully).await,
            Kind::Process(_) => Vec::new(),
            Kind::Board(board) => board.shut_down().await,
        }
    }
}
