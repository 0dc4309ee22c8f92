#!/usr/bin/env python3
"""Two hosts joined by a bad link, on one Linux machine, without netem (root needed).

Makes two network namespaces, A (10.9.0.1) and B (10.9.0.2), and carries the Ethernet frames between them in this
process: with a delay each way, loss from one seed, and a rate with a queue of 256 KiB. Says `hosts A B` on standard
error, and carries until its standard input ends or it is terminated; then it takes all of it away.
"""
import argparse
import heapq
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time

QUEUE_BYTES = 256 * 1024


def sh(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


# Run inside a namespace too, hence a program of its own: frames must reach this process as they would a wire,
# checksummed and not merged. The numbers are ETHTOOL_STXCSUM, STSO, SGSO, SGRO, and SIOCETHTOOL.
OFFLOADS_OFF = """
import array, fcntl, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for command in (0x17, 0x1f, 0x24, 0x2c):
    value = array.array("B", struct.pack("II", command, 0))
    try:
        fcntl.ioctl(s, 0x8946, struct.pack("16sP", sys.argv[1].encode(), value.buffer_info()[0]))
    except OSError:
        pass
"""


class Host:
    """A namespace with one device, whose other end is here."""

    def __init__(self, letter, address):
        self.name = f"nt-bench-{letter}-{os.getpid()}"
        self.near, self.address = f"nb{letter}{os.getpid()}", address

    def make(self):
        inside = ("ip", "-n", self.name)
        sh("ip", "netns", "add", self.name)
        sh("ip", "link", "add", self.near, "type", "veth", "peer", "name", "wire", "netns", self.name)
        sh("ip", "link", "set", self.near, "up")
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "addr", "add", self.address, "dev", "wire")
        sh(*inside, "link", "set", "wire", "up")
        sh(sys.executable, "-c", OFFLOADS_OFF, self.near)
        sh("ip", "netns", "exec", self.name, sys.executable, "-c", OFFLOADS_OFF, "wire")

    def unmake(self):
        for words in (("ip", "link", "del", self.near), ("ip", "netns", "del", self.name)):
            subprocess.run(words, stderr=subprocess.DEVNULL)

    def tap(self):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
        tap.bind((self.near, 0))
        tap.setblocking(False)
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        return tap


class Way:
    """One direction of the link."""

    def __init__(self, source, target, link):
        self.source, self.target, self.link = source, target, link
        self.free_at = 0.0

    def arrives(self, frame, now):
        """When a frame arrives, or None if it is lost."""
        if self.link.dice.random() < self.link.loss:
            return None
        backlog = max(0.0, self.free_at - now)
        bytes_per_second = self.link.mbit * 1e6 / 8
        if backlog * bytes_per_second > QUEUE_BYTES:
            return None
        self.free_at = now + backlog + len(frame) / bytes_per_second
        return self.free_at + self.link.delay / 1e3


def carry(a, b, link):
    ways = {a: Way(a, b, link), b: Way(b, a, link)}
    queue, number = [], 0
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for source in select.select([a, b, sys.stdin], [], [], wait)[0]:
            if source is sys.stdin:
                return
            while True:
                try:
                    frame, (_, _, kind, *_) = source.recvfrom(65535)
                except BlockingIOError:
                    break
                arrival = None if kind == socket.PACKET_OUTGOING else ways[source].arrives(frame, time.monotonic())
                if arrival is not None:
                    # The number keeps frames of one moment in order.
                    number += 1
                    heapq.heappush(queue, (arrival, number, ways[source].target, frame))
        while queue and queue[0][0] <= time.monotonic():
            _, _, target, frame = heapq.heappop(queue)
            try:
                target.send(frame)
            except OSError:
                pass


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--delay", type=float, default=0.0, help="milliseconds each way")
    words.add_argument("--loss", type=float, default=0.0, help="share of the frames that are lost")
    words.add_argument("--mbit", type=float, default=100.0, help="what goes through, in Mbit/s each way")
    words.add_argument("--seed", type=int, default=1)
    link = words.parse_args()
    link.dice = random.Random(link.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    hosts = [Host("a", "10.9.0.1/24"), Host("b", "10.9.0.2/24")]
    try:
        for host in hosts:
            host.make()
        a, b = (host.tap() for host in hosts)
        print("hosts", *(host.name for host in hosts), file=sys.stderr, flush=True)
        carry(a, b, link)
    finally:
        for host in hosts:
            host.unmake()


if __name__ == "__main__":
    main()
