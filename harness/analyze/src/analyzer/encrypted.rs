//! Encrypted conversations: what can be opened is judged as if it had been sent in clear.

use bytes::Bytes;

use super::{Analyzer, Carried};
use crate::dtls::Opened;

impl Analyzer {
    /// Takes key logs that the capture holds.
    pub fn on_secrets(&mut self, logs: &[Bytes]) {
        for log in logs {
            self.decryptor.secrets_mut().add_key_log(log);
        }
    }

    /// Takes a datagram of an encrypted conversation.
    pub(super) fn on_dtls(&mut self, index: u32, number: u64, payload: &Bytes, carried: &Carried) {
        self.counts.dtls += 1;
        for opened in self.decryptor.datagram(carried.src, carried.dst, payload) {
            let Some(flow) = self.flow_list.get_mut(index as usize) else {
                return;
            };
            match opened {
                Opened::Data(clear) => {
                    flow.opened += 1;
                    self.counts.decrypted += 1;
                    self.on_coap(index, number, clear.into(), carried);
                }
                Opened::Control => {}
                Opened::Locked => flow.locked += 1,
                Opened::Broken => {
                    flow.locked += 1;
                    self.counts.broken_records += 1;
                }
            }
        }
    }
}
