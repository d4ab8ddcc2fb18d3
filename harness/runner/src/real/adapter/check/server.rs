//! An adapter for servers: instances, registrations, and what goes with them.

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};

use fotaproof_adapter::{Answer, ErrorKind, Event, Listen, Operation, Registration};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::super::{Adapter, AdapterError};
use super::device::{LIFETIME, TestDevice};
use super::protocol::NOBODY;
use super::{Probe, Watch, operations, refused};

/// The first instance.
pub(super) const FIRST: &str = "check-1";
const SECOND: &str = "check-2";
/// How long `await-registered` waits for a device that does not come.
const VAIN: Duration = Duration::from_millis(1500);

/// How long after the reply to `stop` its address may be in use.
const LETTING_GO: Duration = Duration::from_secs(2);

const START: &str = "`start` with port 0 is replied to with the address on which the instance can be reached";
const REACHED: &str = "our device registers over UDP and is answered 2.01";
const EVENT: &str = "the event `registered` with instance and endpoint";
const AWAITED: &str =
    "`await-registered` gives the registration: lifetime, LwM2M version and object links as the device sent them";

pub(super) fn start(instance: &str, port: u16) -> Operation {
    Operation::Start {
        instance: instance.to_owned(),
        listen: Listen {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            secure_port: None,
        },
        security: None,
        timings: None,
        folder: None,
    }
}

pub(super) async fn check(probe: &mut Probe, adapter: &Adapter) {
    let mut watch = Watch::new(adapter, FIRST);
    let started = probe.ask(adapter, start(FIRST, 0)).await;
    let address = address_of(started);
    probe.tell(
        "start",
        START,
        address.as_ref().map(ToString::to_string).map_err(Clone::clone),
    );
    probe.look(adapter);
    let Ok(address) = address else {
        probe.not_tested("reached", REACHED);
        return;
    };
    let mut device = TestDevice::start("check-device", address);
    if registered(probe, adapter, &mut watch, &mut device).await {
        waiting_in_vain(probe, adapter).await;
        operations::of_a_server(probe, adapter, &mut watch, &mut device).await;
        two_instances(probe, adapter, address).await;
    }
    taken_port(probe, adapter).await;
    device.stop().await;
    stop(probe, adapter, address).await;
}

fn address_of(started: Result<Answer, AdapterError>) -> Result<SocketAddr, String> {
    let answer = started.map_err(|error| error.to_string())?;
    let addresses = answer.addresses.ok_or("a reply without `addresses`")?;
    let address: SocketAddr = addresses
        .coap
        .parse()
        .map_err(|_| format!("{:?}, which is no address with a port", addresses.coap))?;
    if address.ip() != Ipv4Addr::LOCALHOST {
        return Err(format!("{address}, though 127.0.0.1 was asked for"));
    }
    if address.port() == 0 {
        return Err(format!("{address}, at which nobody can listen"));
    }
    Ok(address)
}

async fn registered(probe: &mut Probe, adapter: &Adapter, watch: &mut Watch, device: &mut TestDevice) -> bool {
    let truth = device.until(probe.within, |truth| truth.registered).await;
    let reached = match truth {
        Ok(truth) => Ok(format!("registered at {}", truth.location)),
        Err(truth) => Err(match truth.last_answer {
            Some(code) => format!("answered {code}"),
            None => "no answer".to_owned(),
        }),
    };
    let ok = reached.is_ok();
    probe.tell("reached", REACHED, reached);
    probe.look(adapter);
    let endpoint = device.endpoint.clone();
    let event = watch.event(probe.within, |event| of_endpoint(event, &endpoint)).await;
    probe.tell(
        "registered-event",
        EVENT,
        event.map_or_else(
            || Err("no such event in time".to_owned()),
            |registration| Ok(format!("{endpoint} from {}", registration.address)),
        ),
    );
    probe.look(adapter);
    if !adapter.can("await-registered") {
        probe.skip("await-registered", AWAITED, "`await-registered` is not claimed");
        return ok && !probe.gone;
    }
    // the adapter's own time-out comes first, so that what is said of it does not depend on who is quicker
    let within = probe.within + Duration::from_secs(2);
    let operation = Operation::AwaitRegistered {
        instance: FIRST.to_owned(),
        endpoint,
        timeout_ms: millis(probe.within),
    };
    let answer = probe.ask_within(adapter, operation, within).await;
    probe.tell("await-registered", AWAITED, registration_of(answer));
    probe.look(adapter);
    ok && !probe.gone
}

fn of_endpoint(event: &Event, endpoint: &str) -> Option<Registration> {
    match event {
        Event::Registered {
            endpoint: of,
            registration,
            ..
        } if of == endpoint => Some(registration.clone()),
        _ => None,
    }
}

/// Milliseconds, for a request.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn registration_of(answer: Result<Answer, AdapterError>) -> Result<String, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    let registration = answer.registration.ok_or("a reply without `registration`")?;
    let Registration {
        lifetime,
        lwm2m,
        binding,
        links,
        ..
    } = &registration;
    let seen = format!("lifetime {lifetime}, lwm2m {lwm2m:?}, binding {binding:?}, links {links:?}");
    let same = *lifetime == u64::from(LIFETIME) && lwm2m == "1.0" && links.contains("</5/0>");
    if same {
        Ok(format!("lifetime {lifetime}, lwm2m {lwm2m}"))
    } else {
        Err(seen)
    }
}

/// A device that does not come: the error comes in time, and meanwhile the adapter does other things.
async fn waiting_in_vain(probe: &mut Probe, adapter: &Adapter) {
    const TIMEOUT: &str = "`await-registered` of a device that does not come is refused with `timeout` after its time";
    const MEANWHILE: &str = "another request is answered while one waits";
    if !adapter.can("await-registered") || probe.gone {
        probe.skip("await-timeout", TIMEOUT, "`await-registered` is not claimed");
        return;
    }
    let begun = Instant::now();
    let vain = async {
        let waited = adapter.request(
            Operation::AwaitRegistered {
                instance: FIRST.to_owned(),
                endpoint: "check-nobody".to_owned(),
                timeout_ms: millis(VAIN),
            },
            VAIN + probe.within,
        );
        (waited.await, begun.elapsed())
    };
    let other = async {
        let stopped = adapter.request(
            Operation::Stop {
                instance: NOBODY.to_owned(),
            },
            probe.within,
        );
        (stopped.await, begun.elapsed())
    };
    let ((waited, waited_for), (stopped, stopped_after)) = tokio::join!(vain, other);
    let early = waited_for < VAIN.mul_f64(0.8);
    let timeout = match refused(waited, &[ErrorKind::Timeout]) {
        Ok(_) if early => Err("error `timeout` before its time".to_owned()),
        seen => seen,
    };
    probe.tell("await-timeout", TIMEOUT, timeout);
    let meanwhile = match refused(stopped, &[ErrorKind::Unknown]) {
        Ok(_) if stopped_after >= waited_for => Err("it waited for the other one to end".to_owned()),
        Ok(_) => Ok("answered first".to_owned()),
        Err(seen) => Err(seen),
    };
    probe.tell("concurrent", MEANWHILE, meanwhile);
    probe.look(adapter);
}

async fn two_instances(probe: &mut Probe, adapter: &Adapter, first: SocketAddr) {
    const BOTH: &str = "a second instance has an address of its own, and its events its name";
    if adapter.hello().instances.is_some_and(|bound| bound < 2) {
        return probe.skip("two-instances", BOTH, "one instance at once, says its hello");
    }
    let mut watch = Watch::new(adapter, SECOND);
    let started = probe.ask(adapter, start(SECOND, 0)).await;
    let seen = match address_of(started) {
        Err(seen) => Err(seen),
        Ok(address) if address == first => Err(format!("{address} for both")),
        Ok(address) => {
            let mut device = TestDevice::start("check-other", address);
            let came = device.until(probe.within, |truth| truth.registered).await.is_ok();
            let endpoint = device.endpoint.clone();
            let event = watch.event(probe.within, |event| of_endpoint(event, &endpoint)).await;
            device.stop().await;
            match (came, event) {
                (false, _) => Err(format!("our device cannot register at {address}")),
                (true, None) => Err(format!("no event `registered` of `{SECOND}`")),
                (true, Some(_)) => Ok(format!("{first} and {address}")),
            }
        }
    };
    probe.tell("two-instances", BOTH, seen);
    probe.look(adapter);
    let stopped = probe
        .ask(
            adapter,
            Operation::Stop {
                instance: SECOND.to_owned(),
            },
        )
        .await;
    if let Err(error) = stopped {
        probe.tell("stop-second", "`stop` of the second instance", Err(error.to_string()));
    }
    probe.look(adapter);
}

async fn taken_port(probe: &mut Probe, adapter: &Adapter) {
    const TAKEN: &str = "`start` on a port that is taken is refused with `failed`; the adapter goes on";
    let Ok(taken) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else {
        return;
    };
    let Ok(address) = taken.local_addr() else { return };
    let seen = refused(
        probe.ask(adapter, start("check-taken", address.port())).await,
        &[ErrorKind::Failed],
    );
    probe.tell("taken-port", TAKEN, seen);
    probe.look(adapter);
}

async fn stop(probe: &mut Probe, adapter: &Adapter, address: SocketAddr) {
    const STOP: &str = "`stop` is replied to, and the address is free";
    const AGAIN: &str = "a stopped instance is not there: `stop` is refused with `unknown`";
    let stop = || Operation::Stop {
        instance: FIRST.to_owned(),
    };
    let stopped = probe.ask(adapter, stop()).await;
    let seen = match stopped {
        Err(error) => Err(error.to_string()),
        Ok(_) => match opened_again(address).await {
            Ok(()) => Ok(format!("{address} can be opened again")),
            Err(error) => Err(format!("{address} is not free: {error}")),
        },
    };
    probe.tell("stop", STOP, seen);
    probe.look(adapter);
    let again = probe.ask(adapter, stop()).await;
    probe.tell("stop-again", AGAIN, refused(again, &[ErrorKind::Unknown]));
    probe.look(adapter);
}

/// Whether an address is free. A thread that listened may need a moment to let go of it.
async fn opened_again(address: SocketAddr) -> std::io::Result<()> {
    let until = Instant::now() + LETTING_GO;
    loop {
        match UdpSocket::bind(address).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
