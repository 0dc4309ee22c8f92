"""TLS torture: a foreign client does to the tunnel port whatever RFC 8446 forbids, allows or is silent about.

Each conversation states the answer it must get; after each, a good login works at once and the server holds no file
more than before; after all, it does nothing when nobody asks for anything, and no secret stands in its log. `make
torture` runs it against the built nt; names behind the binary choose conversations.
"""

import os
import sys
import time

from tlslite.api import HandshakeSettings, TLSConnection

import nt1
from tls13 import *

# Cut: the connection is closed without a word, which is all that nt says to a stranger who breaks a rule. Served: the
# login works.
CUT, SERVED, SILENT = "cut", "served", "silent for longer than a stranger may be"

CONVERSATIONS = {}


def conversation(answer):
    """Registers a conversation and the outcome that it must have."""

    def register(function):
        CONVERSATIONS[function.__name__] = (function, answer)
        return function

    return register


def outcome(server, function):
    client = Client(server.address)
    try:
        function(client, server)
        while (record := client.next_record())[0] == CCS:
            pass
        return f"answered by a record of type {record[0]}"
    except Alert as alert:
        return str(alert)
    except Cut:
        return CUT
    except TimeoutError:
        return SILENT
    except StopIteration as end:
        return end.value
    finally:
        client.close()


def served(client, server):
    nt1.log_in(client, server.license)
    raise StopIteration(SERVED)


def opens(client, server):
    """The handshake goes on from the hello that was said, and the login works."""
    client.open()
    served(client, server)


# ── Good, in unusual form ───────────────────────────────────────────────────────────────────────────────────────────


@conversation(SERVED)
def sanity(client, server):
    opens(client, server)


@conversation(SERVED)
def hello_in_records_of_one_byte(client, server):
    hello = client.hello()
    client.transcript += hello
    for byte in hello:
        client.record(HANDSHAKE, bytes([byte]))
    opens(client, server)


@conversation(SERVED)
def hello_in_twenty_segments(client, server):
    hello = client.hello()
    client.transcript += hello
    data = b"\x16\x03\x01" + vec(2, hello)
    for at in range(0, len(data), len(data) // 20):
        client.raw(data[at : at + len(data) // 20])
        time.sleep(0.01)
    opens(client, server)


@conversation(SERVED)
def hello_of_two_segments_as_post_quantum_shares_make_it(client, server):
    client.say_hello(client.hello(more=extension(0xFE99, bytes(1800))))
    opens(client, server)


@conversation(SERVED)
def finished_in_records_of_one_byte(client, server):
    client.to_finished()
    for byte in client.finished():
        client.sealed(HANDSHAKE, bytes([byte]))
    client.reads, client.writes = client.server_traffic, client.client_traffic
    served(client, server)


@conversation(SERVED)
def records_padded_to_the_full(client, server):
    client.open()
    hello = server.license.hello(client.binding)
    client.sealed(DATA, hello, padding=2**14 - len(hello))
    assert client.next_record()[1][0] == nt1.WELCOME
    raise StopIteration(SERVED)


@conversation(SERVED)
def grease_everywhere(client, server):
    client.say_hello(client.hello(
        ciphers=u16s(0x0A0A, AES_128_GCM), versions=vec(1, u16s(0x7A7A, 0x0304)),
        groups=vec(2, u16s(0x2A2A, X25519)), more=extension(0x3A3A, b"\0") + extension(0x4A4A, b"")))
    opens(client, server)


@conversation(SERVED)
def one_change_cipher_spec_as_middleboxes_like_it(client, server):
    client.say_hello()
    client.record(CCS, b"\x01")
    opens(client, server)


@conversation(SERVED)
def hello_retry_for_a_missing_share(client, server):
    first = client.say_hello(client.hello(groups=vec(2, u16s(0x2A2A, X25519)), share=vec(2, b"")))
    retry = client.server_hello()
    assert client.is_retry(retry)
    # The first hello is replaced by its hash (RFC 8446 4.4.1).
    client.transcript = message(254, hashlib.sha256(first).digest()) + retry
    client.say_hello(client.hello(groups=vec(2, u16s(0x2A2A, X25519))))
    opens(client, server)


@conversation(SERVED)
def record_size_limit_and_max_fragment_length(client, server):
    client.say_hello(client.hello(more=extension(28, u16s(64)) + extension(1, b"\x01")))
    opens(client, server)


@conversation(SERVED)
def tlslite_ng_by_itself(client, server):
    """Not this file's client, but tlslite-ng's own, with all its checks of the server's flight."""
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 4)
    peer = TLSConnection(client.socket)
    peer.handshakeClientCert(settings=settings, alpn=[b"nt/1"], serverName="nt.invalid")
    client.binding = bytes(peer.keyingMaterialExporter(bytearray(b"EXPORTER-Channel-Binding"), 32))
    hello = server.license.hello(client.binding)
    peer.write(hello)
    answer = bytes(peer.read(min=66, max=66))
    assert server.license.proves(client.binding, hello, answer), answer.hex()
    raise StopIteration(SERVED)


# ── Offers that are not taken up ────────────────────────────────────────────────────────────────────────────────────


@conversation(CUT)
def tls_1_2_alone(client, server):
    client.say_hello(client.hello(versions=None, ciphers=u16s(0xC02B, 0xC02F, 0x009C)))


@conversation(CUT)
def tls_1_2_in_supported_versions(client, server):
    client.say_hello(client.hello(versions=vec(1, u16s(0x0303, 0x0302))))


@conversation(CUT)
def sslv2_hello(client, server):
    client.raw(b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(35))


@conversation(CUT)
def unknown_groups(client, server):
    client.say_hello(client.hello(groups=vec(2, u16s(0x6399, 0x2A2A)), share=vec(2, u16s(0x6399) + vec(2, bytes(32)))))


@conversation(CUT)
def unknown_ciphers(client, server):
    client.say_hello(client.hello(ciphers=u16s(0x1304, 0x1305, 0x0A0A)))


@conversation(CUT)
def aes_256_alone(client, server):
    """A good suite, but its exporter is not what proofs are made for."""
    client.say_hello(client.hello(ciphers=u16s(0x1302)))


@conversation(CUT)
def no_signature_that_the_certificate_could_make(client, server):
    client.say_hello(client.hello(signatures=vec(2, u16s(0x0804, 0x0805))))


@conversation(CUT)
def no_alpn(client, server):
    client.say_hello(client.hello(alpn=None))


@conversation(CUT)
def alpn_of_another(client, server):
    client.say_hello(client.hello(alpn=vec(2, vec(1, b"h2") + vec(1, b"http/1.1"))))


def psk_offer(early=b""):
    """An offer to resume, with a ticket that nobody gave."""
    modes = extension(45, b"\x01\x01")
    identities = vec(2, vec(2, os.urandom(64)) + bytes(4))
    return early + modes + extension(41, identities + vec(2, vec(1, os.urandom(32))))


def ignores_psk(client, server):
    client.open()
    assert 41 not in client.answered, "the server took a ticket that nobody gave"
    served(client, server)


@conversation(SERVED)
def psk_of_a_ticket_that_nobody_gave(client, server):
    client.say_hello(client.hello(more=psk_offer()))
    ignores_psk(client, server)


@conversation(SERVED)
def early_data(client, server):
    """0-RTT is skipped: a HELLO in it is never answered, and the handshake goes on without it."""
    client.say_hello(client.hello(more=psk_offer(extension(42, b""))))
    client.raw(Keys(os.urandom(32)).seal(DATA, server.license.hello(bytes(32))))
    ignores_psk(client, server)


@conversation(SERVED)
def no_ticket_and_no_certificate_request(client, server):
    client.open()
    assert client.seen == [SERVER_HELLO, ENCRYPTED_EXTENSIONS, CERTIFICATE, CERTIFICATE_VERIFY, FINISHED], client.seen
    # What came behind the handshake would stand before WELCOME.
    served(client, server)


# ── Malformed hellos ────────────────────────────────────────────────────────────────────────────────────────────────


@conversation(CUT)
def hello_with_a_tail(client, server):
    client.say_hello(client.hello(tail=b"\0\0\0"))


@conversation(CUT)
def session_id_of_33_bytes(client, server):
    client.say_hello(client.hello(session=bytes(33)))


@conversation(CUT)
def compression(client, server):
    client.say_hello(client.hello(compression=b"\x01"))


@conversation(CUT)
def the_same_extension_twice(client, server):
    client.say_hello(client.hello(more=extension(43, vec(1, u16s(0x0304)))))


@conversation(CUT)
def no_signature_algorithms(client, server):
    client.say_hello(client.hello(signatures=None))


@conversation(CUT)
def no_groups(client, server):
    client.say_hello(client.hello(groups=None))


@conversation(CUT)
def no_share(client, server):
    client.say_hello(client.hello(share=None))


@conversation(CUT)
def share_of_zeros(client, server):
    client.say_hello(client.hello(share=vec(2, u16s(X25519) + vec(2, bytes(32)))))


@conversation(CUT)
def share_that_is_short(client, server):
    client.say_hello(client.hello(share=vec(2, u16s(X25519) + vec(2, bytes(31)))))


@conversation(CUT)
def share_that_is_not_on_the_curve(client, server):
    point = b"\x04" + bytes(63) + b"\x05"
    client.say_hello(client.hello(groups=vec(2, u16s(P256)), share=vec(2, u16s(P256) + vec(2, point))))


@conversation(CUT)
def share_given_twice(client, server):
    share = u16s(X25519) + vec(2, os.urandom(32))
    client.say_hello(client.hello(share=vec(2, share + share)))


@conversation(CUT)
def retry_answered_by_the_same_hello(client, server):
    hello = client.hello(groups=vec(2, u16s(0x2A2A, X25519)), share=vec(2, b""))
    client.say_hello(hello)
    assert client.is_retry(client.server_hello())
    client.say_hello(hello)


@conversation(CUT)
def extensions_longer_than_the_hello(client, server):
    hello = client.hello()
    at = hello.index(extension(0, vec(2, b"\0" + vec(2, b"nt.invalid")))) - 2
    client.say_hello(hello[:at] + b"\xff\xff" + hello[at + 2 :])


@conversation(CUT)
def hello_of_60_kilobytes(client, server):
    hello = client.hello(more=extension(0xFE99, bytes(60_000)))
    for at in range(0, len(hello), 16_000):
        client.record(HANDSHAKE, hello[at : at + 16_000])


# ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@conversation(CUT)
def plain_record_that_is_too_long(client, server):
    client.raw(b"\x16\x03\x01\x48\x01" + bytes(0x4801))


@conversation(CUT)
def sealed_record_that_is_too_long(client, server):
    client.open()
    client.raw(b"\x17\x03\x03\x41\x01" + bytes(0x4101))


@conversation(CUT)
def plaintext_that_is_too_long(client, server):
    client.open()
    client.sealed(DATA, bytes(2**14 + 1))


@conversation(CUT)
def empty_handshake_record(client, server):
    client.record(HANDSHAKE, b"")
    opens(client, server)


@conversation(CUT)
def empty_handshake_record_when_open(client, server):
    client.open()
    client.sealed(HANDSHAKE, b"")
    client.sealed(DATA, server.license.hello(client.binding))
    client.next_record()


@conversation(CUT)
def empty_records_without_end(client, server):
    client.open()
    for _ in range(200):
        client.sealed(DATA, b"")
    served(client, server)


@conversation(CUT)
def nothing_but_padding(client, server):
    client.open()
    client.sealed(None, b"", padding=100)


@conversation(CUT)
def record_of_unknown_type(client, server):
    client.record(24, b"\x01\x00\x01\x00")


@conversation(CUT)
def sealed_record_of_unknown_type(client, server):
    client.open()
    client.sealed(24, b"\x01\x00\x01\x00")


@conversation(CUT)
def flipped_bit(client, server):
    client.open()
    record = bytearray(client.writes.seal(DATA, server.license.hello(client.binding)))
    record[-1] ^= 1
    client.raw(bytes(record))


@conversation(CUT)
def unsealed_data_when_open(client, server):
    client.open()
    client.record(DATA, server.license.hello(client.binding))


@conversation(CUT)
def change_cipher_spec_a_hundred_times(client, server):
    client.say_hello()
    for _ in range(100):
        client.record(CCS, b"\x01")
    opens(client, server)


@conversation(CUT)
def change_cipher_spec_when_open(client, server):
    client.open()
    client.record(CCS, b"\x01")


@conversation(CUT)
def change_cipher_spec_first(client, server):
    client.record(CCS, b"\x02")


# ── The order of messages ───────────────────────────────────────────────────────────────────────────────────────────


@conversation(CUT)
def data_before_finished(client, server):
    client.to_finished()
    client.sealed(DATA, server.license.hello(client.binding))


@conversation(CUT)
def wrong_finished(client, server):
    client.to_finished()
    client.sealed(HANDSHAKE, message(FINISHED, bytes(32)))


@conversation(CUT)
def finished_that_is_short(client, server):
    client.to_finished()
    client.sealed(HANDSHAKE, message(FINISHED, client.finished()[4:-1]))


@conversation(CUT)
def finished_and_more_in_one_record(client, server):
    client.to_finished()
    client.sealed(HANDSHAKE, client.finished() + message(KEY_UPDATE, b"\0"))


@conversation(CUT)
def certificate_that_nobody_asked_for(client, server):
    client.to_finished()
    client.sealed(HANDSHAKE, message(CERTIFICATE, b"\0" + vec(3, b"")))


@conversation(CUT)
def hello_again_when_open(client, server):
    client.open()
    client.sealed(HANDSHAKE, client.hello())


@conversation(CUT)
def ticket_from_a_client(client, server):
    client.open()
    client.sealed(HANDSHAKE, message(NEW_TICKET, bytes(8) + b"\x01x" + vec(2, b"ticket") + vec(2, b"")))


@conversation(CUT)
def server_hello_from_a_client(client, server):
    client.record(HANDSHAKE, message(SERVER_HELLO, client.hello()[4:]))


@conversation(CUT)
def key_update_with_a_bad_value(client, server):
    client.open()
    client.sealed(HANDSHAKE, message(KEY_UPDATE, b"\x02"))


@conversation(CUT)
def key_update_in_two_pieces(client, server):
    """Legal in TLS, and refused by nt (docs/PROTOCOL.md 1.1)."""
    client.open()
    client.sealed(HANDSHAKE, message(KEY_UPDATE, b"\0")[:3])
    client.sealed(HANDSHAKE, message(KEY_UPDATE, b"\0")[3:])
    served(client, server)


@conversation(CUT)
def two_key_updates_in_one_record(client, server):
    client.open()
    client.sealed(HANDSHAKE, 2 * message(KEY_UPDATE, b"\0"))


@conversation(SERVED)
def key_update(client, server):
    client.open()
    client.sealed(HANDSHAKE, message(KEY_UPDATE, b"\x00"))
    client.writes = client.writes.updated()
    served(client, server)


@conversation(SERVED)
def key_update_answered(client, server):
    """The server's own comes before its next data, and that is sealed by the new key."""
    client.open()
    client.sealed(HANDSHAKE, message(KEY_UPDATE, b"\x01"))
    client.writes = client.writes.updated()
    hello = server.license.hello(client.binding)
    client.sealed(DATA, hello)
    assert client.next_record() == (HANDSHAKE, message(KEY_UPDATE, b"\0"))
    client.reads = client.reads.updated()
    kind, answer = client.next_record()
    assert kind == DATA and server.license.proves(client.binding, hello, answer[:66]), answer.hex()
    raise StopIteration(SERVED)


@conversation(CUT)
def key_updates_without_end(client, server):
    """Each is legal, and wants an answer; so many make no sense."""
    client.open()
    for _ in range(40):
        client.sealed(HANDSHAKE, message(KEY_UPDATE, b"\x01"))
        client.writes = client.writes.updated()
    served(client, server)


# ── Ends and alerts ─────────────────────────────────────────────────────────────────────────────────────────────────


@conversation(CUT)
def close_notify_first(client, server):
    client.record(ALERT, b"\x01\x00")


@conversation(CUT)
def close_notify_amid_the_handshake(client, server):
    client.to_finished()
    client.sealed(ALERT, b"\x01\x00")


@conversation(CUT)
def close_notify_when_open(client, server):
    client.open()
    client.sealed(ALERT, b"\x01\x00")


@conversation(CUT)
def fatal_alert_amid_the_handshake(client, server):
    client.to_finished()
    client.sealed(ALERT, b"\x02\x28")


@conversation(CUT)
def alert_of_one_byte(client, server):
    client.open()
    client.sealed(ALERT, b"\x01")


@conversation(CUT)
def warnings_without_end(client, server):
    client.say_hello()
    for _ in range(100):
        client.record(ALERT, b"\x01\x5a")
    opens(client, server)


@conversation(CUT)
def end_amid_a_record(client, server):
    client.raw(b"\x16\x03\x01\x01\x00" + bytes(100))
    client.socket.shutdown(socket.SHUT_WR)


@conversation(CUT)
def silence_after_server_hello(client, server):
    client.to_finished()


@conversation(CUT)
def silence_when_open(client, server):
    client.open()


# ── Under TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────


@conversation(CUT)
def a_frame_that_is_none(client, server):
    client.open()
    client.sealed(DATA, b"GET / HTTP/1.1\r\n\r\n")


@conversation(CUT)
def login_for_another_connection(client, server):
    client.open()
    client.sealed(DATA, server.license.hello(os.urandom(32)))
    kind, answer = client.next_record()
    assert answer[0] == nt1.REJECT and answer[4] == 20 and answer[-32:] == bytes(32), answer.hex()


def main():
    server, failed = nt1.Server(sys.argv[1]), []
    chosen = sys.argv[2:] or list(CONVERSATIONS)
    for name in chosen:
        function, answer = CONVERSATIONS[name]
        try:
            said = outcome(server, function)
            good = said == answer
            server.is_healthy()
        except (AssertionError, OSError) as error:
            good, said = False, str(error) or repr(error)
        print(f"{'ok    ' if good else 'FAILED'} {name}: {said}", flush=True)
        if not good:
            failed.append(name)
    server.idles()
    server.stop()
    print(f"{len(chosen)} conversations, {len(failed)} failed: {' '.join(failed)}")
    sys.exit(bool(failed))


main()
