"""A TLS 1.3 client that does as it is told, right or wrong: every record and message is in the caller's hand (RFC 8446).

It shares no code with nt: X25519 and AES-GCM are tlslite-ng's, the key schedule is written from the RFC.
"""

import hashlib
import hmac
import os
import socket
import struct

from tlslite.utils.cipherfactory import createAESGCM
from tlslite.utils.x25519 import X25519_G, x25519

CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO, NEW_TICKET, ENCRYPTED_EXTENSIONS = 1, 2, 4, 8
CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, FINISHED, KEY_UPDATE = 11, 13, 15, 20, 24
AES_128_GCM = 0x1301
X25519, P256 = 0x001D, 0x0017
ED25519 = 0x0807
# The random of a ServerHello that is a HelloRetryRequest (RFC 8446 4.1.3).
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
EMPTY = hashlib.sha256(b"").digest()


class Cut(Exception):
    """The peer closed, or reset, the connection."""


class Alert(Exception):
    """The peer sent an alert."""

    def __init__(self, code):
        super().__init__(f"alert {code}")
        self.code = code


def vec(size, body):
    """A vector whose length stands in `size` bytes."""
    return len(body).to_bytes(size, "big") + body


def message(kind, body):
    return bytes([kind]) + vec(3, body)


def extension(kind, body):
    return struct.pack(">H", kind) + vec(2, body)


def u16s(*numbers):
    return b"".join(struct.pack(">H", n) for n in numbers)


def expand(secret, label, context, length=32):
    info = struct.pack(">H", length) + vec(1, b"tls13 " + label) + vec(1, context)
    block, out = b"", b""
    while len(out) < length:
        block = hmac.new(secret, block + info + bytes([len(out) // 32 + 1]), hashlib.sha256).digest()
        out += block
    return out[:length]


def extract(salt, secret):
    return hmac.new(salt, secret, hashlib.sha256).digest()


class Keys:
    """One direction's traffic keys."""

    def __init__(self, secret):
        self.secret, self.sequence = secret, 0
        self.aead = createAESGCM(bytearray(expand(secret, b"key", b"", 16)))
        self.iv = expand(secret, b"iv", b"", 12)

    def nonce(self):
        number = self.sequence.to_bytes(12, "big")
        self.sequence += 1
        return bytearray(a ^ b for a, b in zip(self.iv, number))

    def updated(self):
        return Keys(expand(self.secret, b"traffic upd", b""))

    def seal(self, kind, body, padding=0):
        inner = bytearray(body + bytes([kind] if kind is not None else []) + bytes(padding))
        header = bytearray([DATA, 3, 3]) + struct.pack(">H", len(inner) + 16)
        return bytes(header) + bytes(self.aead.seal(self.nonce(), inner, header))

    def open(self, header, body):
        inner = self.aead.open(self.nonce(), bytearray(body), bytearray(header))
        if inner is None:
            raise AssertionError("a record of the server's does not open")
        inner = bytes(inner).rstrip(b"\0")
        return inner[-1], inner[:-1]


class Client:
    """One connection."""

    def __init__(self, address, patience=8):
        self.socket = socket.create_connection(address, timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.secret = os.urandom(32)
        self.random, self.session = os.urandom(32), os.urandom(32)
        self.transcript = b""
        self.reads = self.writes = None
        self.messages, self.seen = b"", []

    def close(self):
        self.socket.close()

    # What is said.

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Cut(str(error)) from error

    def record(self, kind, body, version=0x0303):
        self.raw(bytes([kind]) + struct.pack(">H", version) + vec(2, body))

    def sealed(self, kind, body, padding=0):
        self.raw(self.writes.seal(kind, body, padding))

    def extensions(self, **changed):
        """The extensions of a good ClientHello, by name; None leaves one out."""
        share = bytes(x25519(bytearray(self.secret), bytearray(X25519_G)))
        good = {
            "server_name": (0, vec(2, b"\0" + vec(2, b"nt.invalid"))),
            "groups": (10, vec(2, u16s(X25519))),
            "signatures": (13, vec(2, u16s(ED25519, 0x0403))),
            "alpn": (16, vec(2, vec(1, b"nt/1"))),
            "versions": (43, vec(1, u16s(0x0304))),
            "share": (51, vec(2, u16s(X25519) + vec(2, share))),
        }
        for name, body in changed.items():
            if body is None:
                good.pop(name)
            elif isinstance(body, tuple):
                good[name] = body
            else:
                good[name] = (good[name][0], body)
        return b"".join(extension(kind, body) for kind, body in good.values())

    def hello(self, ciphers=u16s(AES_128_GCM), session=None, compression=b"\0", more=b"", tail=b"", **changed):
        body = b"\x03\x03" + self.random + vec(1, self.session if session is None else session)
        body += vec(2, ciphers) + vec(1, compression)
        body += vec(2, self.extensions(**changed) + more)
        return message(CLIENT_HELLO, body + tail)

    def say_hello(self, hello=None):
        hello = self.hello() if hello is None else hello
        self.transcript += hello
        self.record(HANDSHAKE, hello, 0x0301)
        return hello

    # What is heard.

    def exactly(self, n):
        data = b""
        while len(data) < n:
            try:
                more = self.socket.recv(n - len(data))
            except TimeoutError:
                raise
            except OSError as error:
                raise Cut(str(error)) from error
            if not more:
                raise Cut("end")
            data += more
        return data

    def next_record(self):
        header = self.exactly(5)
        body = self.exactly(int.from_bytes(header[3:], "big"))
        kind = header[0]
        if kind == DATA and self.reads:
            kind, body = self.reads.open(header, body)
        if kind == ALERT:
            raise Alert(body[1])
        return kind, body

    def next_message(self):
        while len(self.messages) < 4 or len(self.messages) < 4 + int.from_bytes(self.messages[1:4], "big"):
            kind, body = self.next_record()
            if kind == HANDSHAKE:
                self.messages += body
            elif kind != CCS:
                raise AssertionError(f"a record of type {kind} within a handshake")
        size = 4 + int.from_bytes(self.messages[1:4], "big")
        found, self.messages = self.messages[:size], self.messages[size:]
        self.seen.append(found[0])
        return found[0], found

    # The handshake.

    def server_hello(self):
        kind, found = self.next_message()
        assert kind == SERVER_HELLO, f"message {kind} instead of ServerHello"
        return found

    def is_retry(self, hello):
        return hello[6:38] == RETRY

    def take_server_hello(self, hello):
        """Derives the handshake's keys."""
        at = 38 + 1 + hello[38]
        cipher, at = hello[at : at + 2], at + 3
        end, at, share = at + 2 + int.from_bytes(hello[at : at + 2], "big"), at + 2, None
        self.answered = []
        while at < end:
            kind, size = struct.unpack(">HH", hello[at : at + 4])
            self.answered.append(kind)
            if kind == 51:
                share = hello[at + 8 : at + 4 + size]
            at += 4 + size
        assert cipher == u16s(AES_128_GCM) and share, "a ServerHello that was not asked for"
        self.transcript += hello
        shared = bytes(x25519(bytearray(self.secret), bytearray(share)))
        early = extract(bytes(32), bytes(32))
        self.main = extract(expand(early, b"derived", EMPTY), shared)
        digest = hashlib.sha256(self.transcript).digest()
        self.hs_client = expand(self.main, b"c hs traffic", digest)
        self.hs_server = expand(self.main, b"s hs traffic", digest)
        self.reads, self.writes = Keys(self.hs_server), Keys(self.hs_client)

    def server_flight(self):
        """From EncryptedExtensions to Finished, which is checked."""
        while True:
            before = hashlib.sha256(self.transcript).digest()
            kind, found = self.next_message()
            self.transcript += found
            if kind == FINISHED:
                key = expand(self.hs_server, b"finished", b"")
                assert found[4:] == hmac.new(key, before, hashlib.sha256).digest(), "a wrong Finished"
                return

    def finished(self):
        key = expand(self.hs_client, b"finished", b"")
        digest = hashlib.sha256(self.transcript).digest()
        return message(FINISHED, hmac.new(key, digest, hashlib.sha256).digest())

    def derive_traffic(self):
        """The keys of data, and the exporter, behind the server's Finished."""
        digest = hashlib.sha256(self.transcript).digest()
        secret = extract(expand(self.main, b"derived", EMPTY), bytes(32))
        self.client_traffic = Keys(expand(secret, b"c ap traffic", digest))
        self.server_traffic = Keys(expand(secret, b"s ap traffic", digest))
        exporter = expand(expand(secret, b"exp master", digest), b"EXPORTER-Channel-Binding", EMPTY)
        self.binding = expand(exporter, b"exporter", EMPTY)

    def to_finished(self):
        """The handshake up to the client's Finished, which is the caller's to send."""
        if not self.transcript:
            self.say_hello()
        hello = self.server_hello()
        assert not self.is_retry(hello), "a HelloRetryRequest"
        self.take_server_hello(hello)
        self.server_flight()
        self.derive_traffic()

    def open(self):
        """A whole good handshake."""
        self.to_finished()
        self.sealed(HANDSHAKE, self.finished())
        self.reads, self.writes = self.server_traffic, self.client_traffic
        return self
