//! What a zero-copy view costs against the allocating model. Run: `cargo bench -p fotaproof-wire`.

use coap_lite::Packet;
use divan::{Bencher, black_box, counter::ItemsCount};
use fotaproof_wire::coap::{Code, MessageView, RawMessage, Type, option};

fn main() {
    divan::main();
}

/// A block of a firmware push, the most frequent message of a transfer.
fn block() -> Vec<u8> {
    let message = RawMessage::new(Type::Con, Code::PUT, 4711, &[1, 2, 3, 4])
        .with_option(option::URI_PATH, *b"5")
        .with_option(option::URI_PATH, *b"0")
        .with_option(option::URI_PATH, *b"0")
        .with_option(option::CONTENT_FORMAT, [42])
        .with_option(option::BLOCK1, [0x7d])
        .with_option(option::SIZE1, [0x20, 0x00]);
    RawMessage {
        payload: vec![0x5a; 512],
        ..message
    }
    .encode()
}

#[divan::bench]
fn view(bencher: Bencher<'_, '_>) {
    let bytes = block();
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| MessageView::parse(black_box(&bytes)));
}

#[divan::bench]
fn view_and_every_option(bencher: Bencher<'_, '_>) {
    let bytes = block();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let message = MessageView::parse(black_box(&bytes)).ok()?;
        Some((
            message.block1().ok()?,
            message.content_format(),
            message.payload().len(),
        ))
    });
}

#[divan::bench]
fn coap_lite(bencher: Bencher<'_, '_>) {
    let bytes = block();
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| Packet::from_bytes(black_box(&bytes)));
}
