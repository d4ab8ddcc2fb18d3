//! The table of checks: what each asks, which clauses it rests on, and why it matters for a firmware update.

use fotaproof_trace::Grade;

/// What there is to know about a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckInfo {
    /// Its id, kebab-case.
    pub id: &'static str,
    /// One line.
    pub title: &'static str,
    /// Clauses it rests on.
    pub clauses: &'static [&'static str],
    /// Grade of its main rule; a finding can be milder.
    pub grade: Grade,
    /// What must hold.
    pub requires: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// An example of what it reports.
    pub example: &'static str,
}

macro_rules! checks {
    ($($constant:ident $id:literal $grade:ident [$($clause:literal),+] $title:literal $requires:literal $why:literal $example:literal)+) => {
        $(pub(crate) const $constant: &CheckInfo = &CheckInfo {
            id: $id,
            title: $title,
            clauses: &[$($clause),+],
            grade: Grade::$grade,
            requires: $requires,
            why: $why,
            example: $example,
        };)+
        static ALL: &[CheckInfo] = &[$(*$constant),+];
    };
}

checks! {
    MESSAGE_FORMAT "message-format" Must ["rfc7252/3", "rfc7252/3.1", "rfc7252/3.2", "rfc7252/4.1", "rfc7252/4.2", "rfc7252/4.3", "rfc7252/5.4.3", "rfc7252/5.4.5", "rfc7252/5.10.6.1", "rfc7252/12.1", "rfc7959/2.1", "rfc7959/2.2"]
        "Every message is well formed"
        "Header, token, options and payload marker follow the message format; options have the length and the number of occurrences of their definition; Empty, Acknowledgement and Reset carry only what they may."
        "A server that is strict about the format drops the message, and the update stalls without any error."
        "An Acknowledgement ends with a payload marker and no payload."
    MESSAGE_ID_REUSE "message-id-reuse" Must ["rfc7252/4.4"]
        "Message ids are not reused while they live"
        "To one endpoint, a message id is not used for another message within EXCHANGE_LIFETIME (247 s) of a Confirmable or NON_LIFETIME (145 s) of a Non-confirmable message."
        "The receiver takes the new message for a duplicate and answers it from memory: a notification or a block is lost."
        "Two different notifications with message id 4711, 3 s apart."
    TOKEN_ECHO "token-echo" Must ["rfc7252/5.3.1", "rfc7252/4.2", "rfc7252/5.2"]
        "A response carries the token of its request, and there is one for each"
        "A piggybacked response has the message id and the token of the request it answers; a separate response has a token that was asked with; a request has one answer."
        "The server cannot tell which block was answered."
        "The Acknowledgement of PUT /5/0/0 has an empty token; the request had token a1b2."
    DUPLICATE_ANSWER "duplicate-answer" Must ["rfc7252/4.5"]
        "A duplicate is answered as the original was"
        "Each copy of a Confirmable request gets the same answer as the first."
        "The acknowledgement of the last block is lost on a bad link; if its repetition gets 4.08, the server starts the whole image again."
        "The second copy of the last block is answered 4.08, the first was answered 2.04."
    DUPLICATE_ONCE "duplicate-once" Must ["rfc7252/4.5"]
        "A duplicate is not processed again"
        "A request that is not idempotent is processed once, however many copies arrive."
        "A doubled Execute would install twice."
        "Two different separate responses to two copies of POST /5/0/2."
    RETRANSMISSION_TIMING "retransmission-timing" Must ["rfc7252/4.2", "rfc7252/4.8"]
        "Retransmissions keep their times"
        "The first retransmission follows after ACK_TIMEOUT to ACK_TIMEOUT times ACK_RANDOM_FACTOR (2 to 3 s), each further interval doubles, and there are at most MAX_RETRANSMIT (4)."
        "A device that repeats too early congests a narrow-band link for all others; one that gives up early loses the update."
        "The first retransmission came after 500 ms."
    RETRANSMISSION_IDENTITY "retransmission-identity" Must ["rfc7252/4.2"]
        "A retransmission is the same message"
        "A retransmission is byte-identical to the first transmission."
        "The receiver knows a copy by its message id and drops it unread: what was changed is lost."
        "The second transmission of message 4711 has another payload."
    BLOCK1_ANSWER "block1-answer" Must ["rfc7959/2.3"]
        "The answer to a block names that block"
        "2.31 answers a block with more to come and echoes its number with the M bit; the answer to the last block echoes its number without."
        "The server sends the next block by what the answer says."
        "Block 7/1/512 is answered 2.31 with Block1 6/1/512."
    BLOCK_SEQUENCE "block-sequence" Must ["rfc7959/2.4", "rfc7959/2.3", "rfc7959/2.2"]
        "Blocks are asked for and sent without gaps"
        "Each block starts where a known one ends or earlier; after a size change the number is recounted; the M bit is clear in a Block2 request."
        "A skipped block is a hole in the image."
        "GET with Block2 5/0/512 after block 3."
    SZX_NEVER_GROWS "szx-never-grows" Must ["rfc7959/2.3", "rfc7959/2.4"]
        "The block size never grows within a transfer"
        "An answer uses the block size of the request or a smaller one, and further requests keep to what was answered."
        "A peer with a small buffer asked for small blocks for a reason."
        "The server answered with 256-byte blocks and the next GET asks for 1024."
    BLOCK_SIZE "block-size" Must ["rfc7959/2.2"]
        "A block is as long as it says"
        "A block with more to come is exactly of the block size; the last is not longer."
        "The offset of a block is its number times its size: a short block shifts the rest of the image."
        "Block2 3/1/512 with 500 bytes."
    IMAGE_SUM "image-sum" Must ["rfc7959/2.3", "rfc7959/2.4", "rfc7959/2.5"]
        "The blocks add up to the image"
        "A body is accepted only when every byte of it was received; an image that the IUT sends has the SHA-256 of the one it was given."
        "An image with a hole must never be installed."
        "2.04 for the last block although bytes 512 to 1023 never arrived."
    STATE_MACHINE "state-machine" Must ["obj5/3", "oma-fw/T2", "oma-fw/T8"]
        "The states follow the machine"
        "State is 0 to 3, leaves Idle only after a Write of Package or Package URI, and is Updating only after an Update was triggered."
        "The server decides by the State what it may do next."
        "State 2 (Downloaded) before anything was written."
    RESULT_BELONGS "result-belongs" Must ["obj5/5", "oma-fw/pairs"]
        "The Update Result belongs to the object version and to the State"
        "The Result is in the range of the object version; in Downloading and Updating it is Initial; in Downloaded it is Initial, update failed, or deferred."
        "The server reads the outcome of the update from this one number."
        "State 3 (Updating) together with Result 5 (integrity), twice."
    OBSERVE_ORDER "observe-order" Must ["rfc7641/4.4", "rfc7641/3.4"]
        "Notifications are numbered in order"
        "The Observe value of each notification is newer than that of the one before, by the 24-bit rule, unless 128 s have passed."
        "The server drops what looks old, and keeps a State that is no longer true."
        "A notification with Observe 7 follows one with Observe 8."
    OBSERVE_TOKEN "observe-token" Must ["rfc7641/3.6", "rfc7641/4.2", "oma-core/6.4.1"]
        "Notifications stop when the observation ends"
        "A notification belongs to a live observation: not reset, not cancelled, not from before a new registration."
        "After a firmware reboot, notifications with old tokens reach a server that no longer knows them."
        "A notification 4 s after its observation was cancelled."
    MTU "mtu" Should ["rfc7252/4.6"]
        "Datagrams fit the link"
        "A datagram of the IUT fits into one IP packet of the link's MTU."
        "Narrow-band links and firewalls drop fragments."
        "A datagram of 1320 bytes on a link with MTU 1280."
    NO_MESSAGE_AFTER_DEREGISTER "no-message-after-deregister" Should ["oma-core/6.2.3"]
        "Silence after De-register"
        "After its De-register was answered, the client sends no notification, Update or Send before it registers again."
        "The server has dropped the registration and can only refuse."
        "A notification 5 s after 2.02 to DELETE /rd/1."
    REGISTER_SANITY "register-sanity" Must ["oma-core/6.2.1", "rfc6690/2"]
        "A Register says what it must"
        "POST /rd with Content-Format 40, the query lwm2m, ep in LwM2M 1.0, and a payload of links that has no Security object."
        "Object versions in the list decide which firmware object a server may expect."
        "Register without Content-Format."
    RESPONSE_CODE "response-code" Must ["oma-core/6.3"]
        "The response code belongs to the operation"
        "A success is answered with the code of its operation: Read 2.05, Write 2.04 or 2.31, Execute 2.04, Create 2.01, Delete 2.02."
        "A server that waits for 2.04 does not know what to make of 2.05."
        "PUT /5/0/1 is answered 2.05."
    PING_RESET "ping-reset" Must ["rfc7252/4.2"]
        "A ping is answered by a Reset"
        "An Empty Confirmable message is rejected with a Reset."
        "Servers and middleboxes test whether a device lives before they start an update."
        "A ping is answered by an Acknowledgement."
    SEPARATE_RESPONSE_ACKED "separate-response-acked" Must ["rfc7252/5.2.2"]
        "A separate response is acknowledged"
        "A Confirmable response that the IUT waits for is acknowledged."
        "Without it the server repeats each block of a download four times."
        "Three copies of a separate response, no Acknowledgement."
    PUSH_CONTINUES "push-continues" Must ["rfc7959/2.3"]
        "A push continues where the device has come to"
        "Where the IUT is a server: after a 2.31 the next block of the package starts where the acknowledged one ended, in blocks of whatever size, or the body begins anew."
        "A number that was not recounted after a change of the block size puts bytes of one place into another."
        "Block 1/1/256 after the acknowledged block 0/1/1024."
    EXECUTE_WHEN_DOWNLOADED "execute-when-downloaded" Must ["obj5/2", "obj5/3"]
        "Update is executed in Downloaded only"
        "Where the IUT is a server: it executes Update only after it was told State 2 since it last wrote a package or a URI, and once."
        "The answer to the last block does not say that the package was verified; an early Execute is refused, or installs an older package."
        "POST /5/0/2 after the answer to the last block, without a read of State."
    REGISTERED_ADDRESS "registered-address" Must ["oma-core/6.2.1", "oma-core/6.2.2"]
        "Requests go to where the device is registered"
        "Where the IUT is a server: no new request goes to an address that a device has left by a Register or Update from elsewhere, by its De-register, or when its lifetime passed."
        "Behind an address that was given to another device stands another device."
        "PUT /5/0/0 to the port of the registration before, 5 s after the new Register."
}

/// All checks, in the order of the message layers.
#[must_use]
pub fn all() -> &'static [CheckInfo] {
    ALL
}

/// The check with an id.
#[must_use]
pub fn info(id: &str) -> Option<&'static CheckInfo> {
    ALL.iter().find(|check| check.id == id)
}
