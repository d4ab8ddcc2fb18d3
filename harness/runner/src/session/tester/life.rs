//! A server under test that is stopped and started again in a case.

use core::time::Duration;
use std::net::SocketAddr;

use fotaproof_adapter::{Operation, Progress, Reply, UpdateStatus};
use fotaproof_cases::ast::IutAction;
use fotaproof_trace::{EventKind, IutEvent};

use super::super::goals::Act;
use super::super::stimuli::Unable;
use super::super::{IutCommand, Output, Session};
use super::adapter::Asked;

/// Time for an orderly end.
const STOP: Duration = Duration::from_secs(30);

impl Session {
    /// Begins `iut: start|stop|power-cut`.
    pub(super) fn server_life(&mut self, action: IutAction) -> Result<Act, Unable> {
        let running = self.facts.iut_running;
        let patience = self.config.tester.patience;
        let (up, limit) = match action {
            IutAction::Stop => {
                let limit = patience.max(STOP);
                if running {
                    let instance = self.instance();
                    let until = self.now + limit;
                    self.ask(Operation::Stop { instance }, Asked::Stop { until });
                }
                (false, limit)
            }
            IutAction::PowerCut => {
                if running {
                    self.out.push_back(Output::Iut(IutCommand::PowerCut));
                }
                (false, STOP)
            }
            IutAction::Start => {
                if !running {
                    let until = self.now + patience;
                    self.ask(self.start_again(), Asked::Again { until });
                }
                (true, patience)
            }
            IutAction::Fresh => return Err("nobody can wipe what a server keeps".to_owned()),
        };
        Ok(Act::IutState {
            up,
            // an adapter that does not reply is told of as such, a moment before
            until: self.now + limit + Duration::from_secs(1),
        })
    }

    /// The `start` of the case once more, at the address that the instance had: its devices know no other.
    fn start_again(&self) -> Operation {
        let mut operation = self.start_operation();
        if let Operation::Start { listen, .. } = &mut operation {
            listen.port = self.tester.ports.0;
            if listen.secure_port.is_some() {
                listen.secure_port = self.tester.ports.1.or(listen.secure_port);
            }
        }
        operation
    }

    /// The instance ended, as it was asked to.
    pub(super) fn stop_reply(&mut self, reply: &Reply) {
        if let Some(error) = &reply.error {
            let title = format!("the server cannot be stopped: {}", error.message);
            self.adapter_broke(&title, &error.message);
            return;
        }
        self.server_gone("stopped");
        self.emit(EventKind::Iut(IutEvent::Stopped));
    }

    /// The server is not there any more: whoever waits for it waits in vain, and what it knew of its devices is not known.
    pub(in crate::session) fn server_gone(&mut self, how: &str) {
        self.facts.iut_running = false;
        self.facts.iut_status = Some(how.to_owned());
        self.tester.registrations.clear();
        self.tester.observations.clear();
        for asked in self.tester.waiting.values_mut() {
            *asked = Asked::Nobody;
        }
        let now = self.now;
        for run in &mut self.tester.updates {
            // one of the server's own engine goes on after the start, or does not: the server tells
            if run.campaign.is_none() || run.over {
                continue;
            }
            run.over = true;
            if run.progress().is_none_or(|progress| !progress.status.is_final()) {
                let progress = Progress {
                    status: UpdateStatus::Cancelled,
                    reason: Some(format!("the server was {how}")),
                    ..Progress::default()
                };
                run.history.push((now, progress));
            }
        }
    }

    /// The instance can be reached again.
    pub(super) fn again_reply(&mut self, reply: &Reply) {
        if let Some(error) = &reply.error {
            let title = format!("the server cannot be started again: {}", error.message);
            self.adapter_broke(&title, &error.message);
            return;
        }
        let addresses = reply.ok.as_ref().and_then(|answer| answer.addresses.as_ref());
        let told: Option<SocketAddr> = addresses.and_then(|addresses| addresses.coap.parse().ok());
        let wanted = self.tester.ports.0;
        match told {
            Some(address) if address.port() == wanted => {
                self.facts.iut_running = true;
                self.emit(EventKind::Iut(IutEvent::Started));
            }
            Some(address) => {
                let title = format!("the server was to start again at port {wanted} and is at {address}");
                self.adapter_broke(&title, &address.to_string());
            }
            None => self.adapter_broke("the reply to `start` names no address of the server", "no address"),
        }
    }
}
