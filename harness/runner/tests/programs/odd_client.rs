//! A client that misbehaves on the wire, for the tests of the real driver: `odd_client MODE SERVER`.

#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own, outside the sans-IO engine"
)]

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

/// CON POST /rd?ep=odd&lt=300&lwm2m=1.1 with link-format `</5/0>,</3/0>`.
fn register(message_id: u16) -> Vec<u8> {
    let mut message = vec![0x41, 0x02];
    message.extend_from_slice(&message_id.to_be_bytes());
    message.push(0x77);
    let mut before = 0_u16;
    let mut option = |number: u16, value: &[u8]| {
        // all deltas and lengths of these options are below 13
        message.push((u8::try_from(number - before).unwrap_or(0) << 4) | u8::try_from(value.len()).unwrap_or(0));
        message.extend_from_slice(value);
        before = number;
    };
    option(11, b"rd");
    option(12, &[40]);
    option(15, b"ep=odd");
    option(15, b"lt=300");
    option(15, b"lwm2m=1.1");
    option(15, b"b=U");
    message.push(0xff);
    message.extend_from_slice(b"</1/0>,</3/0>,</5/0>");
    message
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, server] = arguments.as_slice() else {
        return ExitCode::from(2);
    };
    let Ok(server) = server.parse::<SocketAddr>() else {
        return ExitCode::from(2);
    };
    match run(mode, server) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: &str, server: SocketAddr) -> std::io::Result<ExitCode> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut buffer = [0; 2048];
    match mode {
        // datagrams that are nothing, as fast as they go
        "garbage" => loop {
            // the harness may be gone
            let _ = socket.send_to(b"\xff\xff\xff\xff garbage", server);
        },
        "die" => {
            socket.send_to(&register(1), server)?;
            socket.recv_from(&mut buffer)?;
            socket.recv_from(&mut buffer)?;
            eprintln!("about to die");
            std::process::abort();
        }
        "twice" => {
            let other = UdpSocket::bind("127.0.0.1:0")?;
            socket.send_to(&register(1), server)?;
            other.send_to(&register(2), server)?;
            std::thread::sleep(Duration::from_secs(600));
        }
        // answers every request with 2.05 and no payload, from another port
        "other-port" => {
            let other = UdpSocket::bind("127.0.0.1:0")?;
            socket.send_to(&register(1), server)?;
            socket.recv_from(&mut buffer)?;
            loop {
                let (length, from) = socket.recv_from(&mut buffer)?;
                let token = usize::from(buffer[0] & 15);
                if length >= 4 + token && buffer[0] >> 4 == 4 {
                    let mut answer = buffer[..4 + token].to_vec();
                    answer[0] = 0x60 | (buffer[0] & 15);
                    answer[1] = 0x45;
                    other.send_to(&answer, from)?;
                }
            }
        }
        _ => return Ok(ExitCode::from(2)),
    }
    Ok(ExitCode::SUCCESS)
}
