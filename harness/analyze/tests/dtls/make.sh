#!/usr/bin/env bash
# Makes these captures again: CoAP in DTLS 1.2, by OpenSSL in each cipher suite, and by libcoap with GnuTLS.
# Wants root (to capture), tshark, editcap, openssl, libcoap3-bin. The pre-shared keys are those of ../dtls.rs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
key=00112233445566778899aabbccddeeff
port=16000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# capture FILE PORT: begins a capture of four seconds; its process is in $tape
capture() {
    tshark -q -i lo -f "udp port $2" -w "$work/raw.pcapng" -a duration:4 >/dev/null 2>&1 &
    tape=$!
    sleep 1.2
}

for suite in PSK-AES128-CCM8 PSK-AES128-CCM PSK-AES256-CCM8 PSK-AES128-GCM-SHA256 PSK-AES256-GCM-SHA384 \
    PSK-AES128-CBC-SHA256 PSK-CHACHA20-POLY1305 ECDHE-PSK-AES128-CBC-SHA256 ECDHE-PSK-CHACHA20-POLY1305; do
    port=$((port + 1))
    name=${suite,,}
    capture "$name" $port
    sleep 3 | timeout 5 openssl s_server -dtls1_2 -psk $key -psk_identity id -nocert -cipher "$suite:@SECLEVEL=0" \
        -port $port -quiet >/dev/null 2>&1 &
    sleep 0.4
    # CON GET /a, then CON PUT /a "hello"
    { sleep 0.3; printf '\x40\x01\x00\x01\xb1a'; sleep 0.3; printf '\x40\x03\x00\x02\xb1a\xffhello'; sleep 0.5; } |
        timeout 4 openssl s_client -dtls1_2 -psk $key -psk_identity id -cipher "$suite:@SECLEVEL=0" \
            -connect 127.0.0.1:$port -quiet -keylogfile "$name.keys" >/dev/null 2>&1 || true
    wait $tape
    # the format without the machine's name in it
    editcap -F pcap "$work/raw.pcapng" "$name.pcap"
done

capture gnutls 15994
timeout 5 coap-server-gnutls -A 127.0.0.1 -p 15993 -k secretkey1234567 -h hint -d 10 -L 1 >/dev/null 2>&1 &
sleep 0.7
head -c 300 /dev/urandom >"$work/body"
SSLKEYLOGFILE=$PWD/gnutls.keys timeout 5 coap-client-gnutls -B 3 -k secretkey1234567 -u device1 -m put -b 64 -f "$work/body" \
    -t 42 coaps://127.0.0.1:15994/example_data
wait $tape
editcap -F pcap "$work/raw.pcapng" gnutls.pcap
editcap -F pcapng --inject-secrets tls,gnutls.keys gnutls.pcap gnutls-with-secrets.pcapng
