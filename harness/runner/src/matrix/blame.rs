//! Whose fault it is that an update did not end well, where the link shows it.
//!
//! A rule here is one story of how an update gets stuck, told from what both sides sent and what of it arrived. It names a side only
//! where that side alone could have gone on or did what it must not; otherwise nobody is named, and the report says so.
//! What a check finds of a side needs no rule: the check names it.

use core::time::Duration;

use fotaproof_analyze::report::DeviceReport;
use fotaproof_cases::Claims;
use fotaproof_checks::facts::Target;
use fotaproof_reports::matrix::Way;
use fotaproof_wire::coap::Code;

use super::asked::{Asked, Log};
use super::cell::End;
use super::leader::{Level, Unable};
use super::plan::Role;

/// Copies of a request that nothing answers count when they came at least this much apart.
const APART: Duration = Duration::from_secs(1);
/// A side that does nothing for so long does not go on.
const IDLE: Duration = Duration::from_secs(60);
/// The largest message that needs no agreement (RFC 7252, 4.6).
const MESSAGE: u64 = 1152;
/// The first transmission and MAX_RETRANSMIT more (RFC 7252, 4.8).
const TRANSMISSIONS: u32 = 5;

/// A side and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) side: Role,
    pub(super) what: String,
    /// The datagrams that show it.
    pub(super) datagrams: Vec<u64>,
    /// It is a fault even where the update ended well.
    pub(super) always: bool,
}

/// What must be known of a cell besides what was asked in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story<'a> {
    pub(super) log: &'a Log,
    pub(super) way: Way,
    pub(super) level: Level,
    pub(super) end: &'a End,
    /// The last operation that the server's library failed to do.
    pub(super) unable: Option<&'a Unable>,
    /// When it was over.
    pub(super) at: Duration,
    /// Bytes of the package and the version that it installs.
    pub(super) image: u64,
    pub(super) version: &'a str,
    pub(super) client: &'a Claims,
    /// The harness serves the package of a pull.
    pub(super) hosted_by_harness: bool,
    /// The server sent the package as it was given to it, as far as was seen.
    pub(super) is_intact: bool,
    pub(super) device: Option<&'a DeviceReport>,
}

type Rule = fn(&Story<'_>) -> Option<Fault>;

/// The rules, those that leave the least doubt first.
const RULES: [Rule; 19] = [
    other_name,
    one_big_message,
    last_block_has_more,
    not_claimed,
    both_ways,
    wrong_block_served,
    other_file_served,
    unanswered,
    copies_ignored,
    answer_rejected,
    push_refused,
    asks_beyond_the_end,
    given_up_early,
    never_fetched,
    old_version,
    not_back,
    does_not_go_on,
    refuses_intact,
    unable,
];

/// The first rule that fits.
pub(super) fn fault(story: &Story<'_>) -> Option<Fault> {
    // half a story may be another one
    if story.log.is_cut {
        return None;
    }
    RULES.iter().find_map(|rule| rule(story))
}

const fn of(side: Role, what: String, datagrams: Vec<u64>) -> Option<Fault> {
    Some(Fault {
        side,
        what,
        datagrams,
        always: false,
    })
}

impl<'a> Story<'a> {
    /// The Execute of Update that the server sent first.
    fn execute(&self) -> Option<&'a Asked> {
        self.log
            .of(Role::Server)
            .find(|asked| asked.is_firmware(2) && asked.code == Code::POST)
    }

    /// Requests of the server that carry the package or a part of it; a short one is a reset.
    fn pushes(&self) -> impl DoubleEndedIterator<Item = &'a Asked> {
        self.log
            .of(Role::Server)
            .filter(|asked| asked.is_firmware(0) && (asked.facts.block1.is_some() || asked.length > 1))
    }

    /// The write of a URI that the client took.
    fn offer(&self) -> Option<&'a Asked> {
        self.log.of(Role::Server).find(|asked| {
            asked.is_firmware(1) && asked.length > 0 && asked.reply.as_ref().is_some_and(|r| r.code.is_success())
        })
    }

    /// GETs of a file by the client.
    fn fetches(&self) -> impl DoubleEndedIterator<Item = &'a Asked> {
        self.log
            .of(Role::Client)
            .filter(|asked| asked.code == Code::GET && asked.facts.target == Target::Other)
    }

    fn registers(&self) -> impl DoubleEndedIterator<Item = &'a Asked> {
        self.log
            .of(Role::Client)
            .filter(|asked| asked.code == Code::POST && asked.facts.target == Target::Register)
    }

    /// The last sample of Update Result that the capture has.
    fn result(&self) -> Option<u8> {
        let samples = &self.device?.firmware.samples;
        samples.iter().rev().find_map(|sample| sample.result)
    }

    fn shows_state(&self, state: u8) -> bool {
        self.device
            .is_some_and(|device| device.firmware.samples.iter().any(|sample| sample.state == Some(state)))
    }
}

/// Who comes back under another endpoint name is another device to the server; there is one client in a cell.
fn other_name(story: &Story<'_>) -> Option<Fault> {
    let first = story.registers().find(|asked| asked.text.is_some())?;
    let other = story
        .registers()
        .find(|asked| asked.text.is_some() && asked.text != first.text)?;
    let name = |asked: &Asked| asked.text.clone().unwrap_or_default();
    let what = format!("it registers as `{}` and later as `{}`", name(first), name(other));
    of(Role::Client, what, vec![first.datagram, other.datagram])
}

fn one_big_message(story: &Story<'_>) -> Option<Fault> {
    let push = story.pushes().find(|asked| asked.length > MESSAGE)?;
    let what = format!(
        "it sends {} bytes of the package in one message, without Block1 (rfc7252/4.6)",
        push.length
    );
    of(Role::Server, what, vec![push.datagram])
}

/// The package ends with this block, and the block says that another one follows.
fn last_block_has_more(story: &Story<'_>) -> Option<Fault> {
    let push = story.pushes().find(|asked| {
        let ends = |offset: u64| offset + asked.length == story.image;
        asked
            .facts
            .block1
            .is_some_and(|block| block.more && ends(block.offset()))
    })?;
    let what = "the last block of the package announces another one: M is set (rfc7959/2.2)".to_owned();
    of(Role::Server, what, vec![push.datagram])
}

/// A way that the claims of the client do not have.
fn not_claimed(story: &Story<'_>) -> Option<Fault> {
    let scheme = |asked: &Asked| Some(asked.text.as_deref()?.split_once("://")?.0.to_ascii_lowercase());
    let foreign = story.log.of(Role::Server).find_map(|asked| {
        let scheme = asked.is_firmware(1).then(|| scheme(asked)).flatten()?;
        (!story.client.has(&format!("pull:{scheme}"))).then_some((asked, scheme))
    });
    if let Some((offer, scheme)) = foreign {
        let what = format!("it offers a URI of the scheme `{scheme}`, which the client does not claim");
        return of(Role::Server, what, vec![offer.datagram]);
    }
    let push = story.pushes().next().filter(|_| !story.client.has("push"))?;
    let what = "it pushes the package, which the client does not claim".to_owned();
    of(Role::Server, what, vec![push.datagram])
}

/// A push while the client fetches, or a URI in the middle of a push.
fn both_ways(story: &Story<'_>) -> Option<Fault> {
    let offer = story.offer()?;
    let at_once = Duration::from_secs(2);
    let push = story.pushes().find(|push| {
        let still_fetches = || story.fetches().any(|fetch| fetch.at > push.at);
        push.at.abs_diff(offer.at) < at_once || (push.at > offer.at && still_fetches())
    })?;
    let what = "it pushes the package and offers a URI at the same time".to_owned();
    of(Role::Server, what, vec![offer.datagram, push.datagram])
}

/// A block is asked for and another one comes.
fn wrong_block_served(story: &Story<'_>) -> Option<Fault> {
    let (fetch, reply) = story.fetches().filter(|fetch| !fetch.of_harness).find_map(|fetch| {
        let asked = fetch.facts.block2?;
        let reply = fetch.arrived()?;
        let served = reply.facts.block2?;
        (reply.code == Code::CONTENT && asked.offset() != served.offset()).then_some((fetch, reply))
    })?;
    let number = |facts: &fotaproof_checks::facts::Facts| facts.block2.map_or(0, |block| block.num);
    let what = format!(
        "its repository answers the GET of block {} with block {} (rfc7959/2.3)",
        number(&fetch.facts),
        number(&reply.facts)
    );
    of(Role::Server, what, vec![fetch.datagram, reply.datagram])
}

/// The file is the same, its ETag is not.
fn other_file_served(story: &Story<'_>) -> Option<Fault> {
    let served = story
        .fetches()
        .filter(|fetch| !fetch.of_harness)
        .filter_map(|fetch| Some((fetch.facts.uri, fetch.arrived()?)))
        .filter(|(_, reply)| reply.code == Code::CONTENT && reply.facts.etag.is_some());
    let mut last = None;
    for (uri, reply) in served {
        if let Some((known, before)) = last.replace((uri, reply))
            && known == uri
            && before.facts.etag != reply.facts.etag
        {
            let what = "its repository changes the ETag in the middle of a file that stays the same (rfc7252/5.10.6)";
            return of(Role::Server, what.to_owned(), vec![before.datagram, reply.datagram]);
        }
    }
    None
}

/// Copies of a request arrived, and nothing was ever sent for them.
///
/// After the Execute a device may be away, before it an awake device must answer; one in queue mode may sleep.
fn unanswered(story: &Story<'_>) -> Option<Fault> {
    let sleeps = story.registers().any(|asked| asked.queue);
    let executed = story.execute().map_or(Duration::MAX, |execute| execute.at);
    let of_server = story
        .log
        .of(Role::Server)
        .filter(|asked| asked.confirmable && !asked.is_answered());
    for asked in of_server {
        let here = story
            .registers()
            .rev()
            .find(|register| register.at < asked.at)
            .is_some_and(|register| register.from == asked.to);
        let (Some(first), Some(last)) = (asked.delivered.first(), asked.delivered.last()) else {
            continue;
        };
        let is_execute = asked.at == executed;
        let rebooted = is_execute && story.registers().any(|register| register.at > *first);
        let insisted = *last >= *first + APART && asked.at <= executed && !sleeps;
        if here && (rebooted || insisted) {
            let name = if is_execute {
                "the Execute of Update"
            } else {
                "a request"
            };
            let then = if rebooted { ", and registered again" } else { "" };
            let what = format!(
                "{name} reached it {} and it never answered{then} (rfc7252/4.2)",
                times(asked.delivered.len())
            );
            return Some(Fault {
                side: Role::Client,
                what,
                datagrams: vec![asked.datagram],
                always: is_execute,
            });
        }
    }
    let asked = story.log.of(Role::Client).find(|asked| {
        asked.confirmable
            && !asked.of_harness
            && !asked.is_answered()
            && matches!((asked.delivered.first(), asked.delivered.last()), (Some(first), Some(last)) if *last >= *first + APART)
    })?;
    let what = format!(
        "a request of the client reached it {} and it never answered (rfc7252/4.2)",
        times(asked.delivered.len())
    );
    of(Role::Server, what, vec![asked.datagram])
}

/// The answer was lost, and the copies of the request that came for it were not answered.
fn copies_ignored(story: &Story<'_>) -> Option<Fault> {
    let asked = story.log.all().iter().find(|asked| {
        let span = asked.delivered.first().zip(asked.delivered.last());
        asked.confirmable
            && !asked.of_harness
            && asked.is_answered()
            && asked.arrived().is_none()
            && asked
                .reply
                .as_ref()
                .is_some_and(|reply| asked.delivered.iter().filter(|at| **at > reply.at).count() >= 2)
            && asked.delivered.len() >= asked.answers + 2
            && span.is_some_and(|(first, last)| *last >= *first + APART)
    })?;
    let what = format!(
        "its answer to a request was lost, and it does not answer the copies of it: {} came, {} of them answered (rfc7252/4.2)",
        asked.delivered.len(),
        asked.answers
    );
    of(asked.by.other(), what, vec![asked.datagram])
}

fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        many => format!("{many} times"),
    }
}

/// An answer to its own request is no reason for a Reset.
fn answer_rejected(story: &Story<'_>) -> Option<Fault> {
    let asked = story.log.all().iter().find(|asked| asked.rejected.is_some())?;
    let mut datagrams: Vec<u64> = asked.arrived().map(|reply| reply.datagram).into_iter().collect();
    datagrams.extend(asked.rejected);
    let what = "it rejects the answer to its own request with a Reset (rfc7252/5.2.1)".to_owned();
    of(asked.by, what, datagrams)
}

/// A push ends with an error although each block followed the one before, or with a hint that is not taken.
fn push_refused(story: &Story<'_>) -> Option<Fault> {
    let mut acknowledged = 0;
    for push in story.pushes() {
        let Some(reply) = &push.reply else { continue };
        let offset = push.facts.block1.map_or(0, |block| block.offset());
        if reply.code.is_success() {
            acknowledged = offset + push.length;
            continue;
        }
        let datagrams = vec![push.datagram, reply.datagram];
        if reply.code == Code::REQUEST_ENTITY_TOO_LARGE {
            let hint = reply.facts.block1.map(|block| block.size() as u64);
            let smaller = hint.is_some_and(|hint| push.facts.block1.is_none_or(|block| hint < block.size() as u64));
            if smaller && reply.delivered && !story.pushes().any(|later| later.at > push.at) {
                let what = format!(
                    "it gives up at a 4.13 that asks for blocks of {} bytes (rfc7959/2.9.3)",
                    hint.unwrap_or_default()
                );
                return of(Role::Server, what, datagrams);
            }
            return None;
        }
        let in_order = offset == acknowledged && push.code == Code::PUT;
        if offset > 0 && in_order {
            let what = format!(
                "it refuses a block with {} that follows the ones it acknowledged",
                reply.code
            );
            return of(Role::Client, what, datagrams);
        }
        if in_order && reply.code == Code::METHOD_NOT_ALLOWED && story.client.has("push") {
            let what = "it claims push and answers the first block of a package with 4.05".to_owned();
            return of(Role::Client, what, datagrams);
        }
        return None;
    }
    None
}

/// The block before said that it was the last.
fn asks_beyond_the_end(story: &Story<'_>) -> Option<Fault> {
    let mut end: Option<(u64, u64, u64)> = None;
    for fetch in story.fetches() {
        let Some(asked) = fetch.facts.block2 else { continue };
        if let Some((uri, end, datagram)) = end
            && uri == fetch.facts.uri
            && asked.offset() >= end
        {
            let what = "it asks for a block after the one that was marked as the last (rfc7959/2.2)".to_owned();
            return of(Role::Client, what, vec![datagram, fetch.datagram]);
        }
        if let Some(reply) = fetch.arrived()
            && reply.code == Code::CONTENT
            && let Some(served) = reply.facts.block2.filter(|block| !block.more)
        {
            end = Some((fetch.facts.uri, served.offset() + 1, reply.datagram));
        }
    }
    None
}

/// A message was lost, and the client did not send it as often as it may.
fn given_up_early(story: &Story<'_>) -> Option<Fault> {
    let last = story.fetches().next_back()?;
    let lost = last.arrived().is_none() && (last.delivered.is_empty() || last.is_answered());
    let over = story.shows_state(0) && story.result().is_some_and(|result| result > 1);
    if !(lost && over && last.confirmable && last.copies < TRANSMISSIONS) {
        return None;
    }
    let what = format!(
        "it gives up the download after {} of a GET that the network lost; five are usual (rfc7252/4.8)",
        match last.copies {
            1 => "one copy".to_owned(),
            many => format!("{many} copies"),
        }
    );
    of(Role::Client, what, vec![last.datagram])
}

/// The URI was taken and nobody was asked for the file.
fn never_fetched(story: &Story<'_>) -> Option<Fault> {
    let offer = story.offer()?;
    let coap = offer.text.as_deref().is_some_and(|uri| uri.starts_with("coap://"));
    if !coap || story.fetches().next().is_some() || story.at < offer.at + IDLE {
        return None;
    }
    let reply = offer.reply.as_ref().map(|reply| reply.datagram);
    let what = "it takes the URI and never asks for the file".to_owned();
    of(
        Role::Client,
        what,
        [Some(offer.datagram), reply].into_iter().flatten().collect(),
    )
}

/// A success that installed nothing.
fn old_version(story: &Story<'_>) -> Option<Fault> {
    let firmware = &story.device?.firmware;
    let execute = story.execute()?;
    let (before, after) = (firmware.version_before.as_deref()?, firmware.version_after.as_deref()?);
    let stayed = !before.is_empty() && before == after && !story.version.is_empty() && after != story.version;
    if story.result() != Some(1) || !stayed {
        return None;
    }
    let what = format!(
        "it reports Update Result 1, Success, and still runs version {after}, not {}",
        story.version
    );
    of(Role::Client, what, vec![execute.datagram])
}

/// The Execute was taken, and then the client was neither heard to register nor to have failed.
fn not_back(story: &Story<'_>) -> Option<Fault> {
    let execute = story.execute()?;
    let reply = execute.reply.as_ref().filter(|reply| reply.code.is_success())?;
    let registered = story.registers().any(|register| register.at > reply.at);
    let waited = story.at.saturating_sub(reply.at);
    let ended = story.result().is_some_and(|result| result > 0);
    if registered || ended || waited < IDLE * 2 {
        return None;
    }
    let what = format!(
        "it takes the Execute and does not register again within {} s",
        waited.as_secs()
    );
    of(Role::Client, what, vec![execute.datagram, reply.datagram])
}

/// A server with an engine of its own was given all it needs and does nothing more.
fn does_not_go_on(story: &Story<'_>) -> Option<Fault> {
    if story.level != Level::Campaign {
        return None;
    }
    // the last block that was acknowledged asks for the next
    if let Some(last) = story.pushes().next_back()
        && let Some(reply) = last.arrived()
        && reply.code == Code::CONTINUE
        && last.facts.block1.is_some_and(|block| block.more)
        && story.at >= reply.at + IDLE
    {
        let what = "it stops in the middle of a push: a block is acknowledged, and no other follows".to_owned();
        return of(Role::Server, what, vec![last.datagram, reply.datagram]);
    }
    let waits = |since: Duration| story.at >= since + IDLE || matches!(story.end, End::Limit(_));
    let silent = |since: Duration| !story.log.of(Role::Server).any(|asked| asked.at >= since);
    let register = story
        .registers()
        .rev()
        .find(|register| register.arrived().is_some_and(|reply| reply.code == Code::CREATED))?;
    let execute = story.execute();
    if silent(register.at) && waits(register.at) {
        let again = execute.is_some_and(|execute| execute.at < register.at);
        let what = if again {
            "the client came back after the Execute, and it asks it nothing more"
        } else {
            "the client is registered, and it sends it nothing"
        };
        return of(Role::Server, what.to_owned(), vec![register.datagram]);
    }
    let (at, datagram) = story.log.told_downloaded?;
    if execute.is_none() && waits(at) && story.result().is_none_or(|result| result == 0) {
        let what = "it was told State 2, Downloaded, and never sends the Execute of Update".to_owned();
        return of(Role::Server, what, vec![datagram]);
    }
    None
}

/// The whole package went over as it was given, and the client reports that it failed.
fn refuses_intact(story: &Story<'_>) -> Option<Fault> {
    let result = story.result().filter(|result| *result > 1)?;
    let whole = story.device?.transfers.iter().any(|transfer| {
        let of_way = transfer.way == story.way.word();
        of_way && transfer.bytes == story.image && transfer.outcome.starts_with("complete")
    });
    let vouched = story.way == Way::Push || story.hosted_by_harness;
    if !whole || !vouched || !story.is_intact {
        return None;
    }
    let last = story.pushes().chain(story.fetches()).max_by_key(|asked| asked.at)?;
    let what = format!("the package reached it whole and unchanged, and it reports Update Result {result}");
    of(Role::Client, what, vec![last.datagram])
}

/// The library was asked to send something, and failed without a message on the link: the client was not even asked.
fn unable(story: &Story<'_>) -> Option<Fault> {
    let failed = story.unable?;
    let spoke = story.log.spoke[Role::Server as usize];
    // who sleeps or has left cannot be asked
    let away = story.registers().any(|asked| asked.queue)
        || story.log.of(Role::Client).any(|asked| asked.code == Code::DELETE);
    if away || spoke.is_some_and(|at| at >= failed.asked) {
        return None;
    }
    let last = story.log.all().last()?;
    let what = format!(
        "its library, or its adapter, sends nothing any more when it is asked to ({})",
        failed.what
    );
    of(
        Role::Server,
        what,
        vec![last.reply.as_ref().map_or(last.datagram, |reply| reply.datagram)],
    )
}
