"""The login of nt/1, written from docs/PROTOCOL.md, and the server that is tortured."""

import base64
import hashlib
import hmac
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

from ecdsa import Ed25519, SigningKey

from tls13 import DATA, Client, extract

HELLO, WELCOME, REJECT = 1, 2, 3


def frame(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def hkdf_expand(secret, info):
    return hmac.new(secret, info + b"\x01", hashlib.sha256).digest()


class License:
    """Section 3."""

    def __init__(self, text):
        raw = base64.b32decode(text[3:].upper() + "=" * (-len(text[3:]) % 8))
        self.id, seed = raw[:8], raw[8:28]
        secret = extract(b"nt/1 license", self.id + seed)
        self.sign = SigningKey.from_string(hkdf_expand(secret, b"nt/1 client sign"), curve=Ed25519)
        self.mac = hkdf_expand(secret, b"nt/1 server mac")
        self.instance, self.counter = os.urandom(16), 0

    def hello(self, binding, version=1):
        """Section 4."""
        self.counter += 1
        body = bytes([version]) + self.id + self.instance + self.counter.to_bytes(8, "big") + bytes(4 + 2)
        unsigned = frame(HELLO, body + bytes(64))[:-64]
        text = b"nt/1 C\0tls\0" + binding + hashlib.sha256(unsigned).digest()
        return unsigned + self.sign.sign(text)

    def proves(self, binding, hello, answer):
        parts = hashlib.sha256(hello[:-64]).digest() + hashlib.sha256(answer[:-32]).digest()
        text = b"nt/1 S\0tls\0" + binding + parts
        return hmac.compare_digest(hmac.new(self.mac, text, hashlib.sha256).digest(), answer[-32:])


def log_in(client, license):
    """Logs in on a connection whose TLS is up; fails where the server does not prove the license."""
    hello = license.hello(client.binding)
    client.sealed(DATA, hello)
    kind, answer = client.next_record()
    assert kind == DATA and answer[0] == WELCOME, f"the login was answered by {kind}: {answer[:8].hex()}"
    size = 4 + int.from_bytes(answer[1:4], "big")
    assert license.proves(client.binding, hello, answer[:size]), "the server did not prove the license"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`nt -s`, with a state folder of its own, and what it holds at rest."""

    def __init__(self, binary):
        self.folder = tempfile.TemporaryDirectory(prefix="nt-torture-")
        self.address = ("127.0.0.1", free_port())
        log = pathlib.Path(self.folder.name, "log")
        self.process = subprocess.Popen(
            [binary, "-s", "--listen", "%s:%d" % self.address, "--state", self.folder.name + "/state"],
            stdout=subprocess.DEVNULL, stderr=log.open("wb"), env={"NT_LOG": "debug"})
        until = time.monotonic() + 20
        while not (found := re.search(r"nt1[a-z2-7]{52}", log.read_text())):
            assert self.process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        self.log, self.license = log, License(found.group())
        self.secrets = [found.group(), found.group()[3:40], self.license.mac.hex(), self.license.sign.to_string().hex()]
        # The first login binds what stays bound.
        self.serves()
        self.baseline = self.rest()

    def serves(self):
        """A good login works at once."""
        client = Client(self.address)
        try:
            log_in(client.open(), self.license)
        finally:
            client.close()

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ticks(self):
        """Ticks of the processor that it has used (proc(5), utime and stime)."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def rest(self):
        """Waits until the files it holds do not change any more, and says how many they are."""
        before, until = self.files(), time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(0.3)
            now = self.files()
            if now == before:
                return now
            before = now
        raise AssertionError(f"its files do not come to rest: {before}")

    def is_healthy(self):
        """Alive, a good login at once, no file more than at first, and no work when nobody asks for any."""
        assert self.process.poll() is None, f"it died: {self.log.read_text()[-500:]}"
        self.serves()
        until = time.monotonic() + 20
        while self.files() > self.baseline:
            assert time.monotonic() < until, f"{self.files()} files, {self.baseline} at first"
            time.sleep(0.1)

    def idles(self):
        """A second without a tick, soon."""
        until = time.monotonic() + 20
        while True:
            before = self.ticks()
            time.sleep(1)
            if self.ticks() == before:
                return
            assert time.monotonic() < until, "it works though nobody asks it to"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        log = self.log.read_text()
        assert code == 0, f"it ended with {code}: {log[-2000:]}"
        # The first start has to tell the license once.
        told = [line for line in log.splitlines() if "nt -c nt1" not in line]
        assert not any(secret in line for line in told for secret in self.secrets), "a secret stands in its log"
        self.folder.cleanup()
