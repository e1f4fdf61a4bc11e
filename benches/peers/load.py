"""Load and what is measured under it: correctness first, then CPU, latency, memory."""
import json
import re
import socket
import ssl
import subprocess
import time

from peers import HOST
from rig import cpu, memory, steal

CONNECTIONS = 64

CASES = {
    "plain": "HTTP/1.1 keep-alive, 64 connections",
    "big":   "the same, 64 KiB body",
    "tls":   "HTTP/1.1 keep-alive over TLS 1.3",
    "h2":    "HTTP/2 over TLS 1.3, 16 connections x 4 streams",
    "close": "HTTP/1.1, a new connection each request",
    "two":   "HTTP/1.1 keep-alive, 2 workers, nothing pinned",
}


class Client:
    """The smallest HTTP/1.1 client: one request at a time on one connection."""

    def __init__(self, port, tls=None):
        self.s = socket.create_connection(("127.0.0.1", port), 5)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.s = tls.wrap_socket(self.s, server_hostname=HOST)

    def send(self, extra="", host=HOST):
        self.s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode())

    def recv(self):
        buf = b""
        while b"\r\n\r\n" not in buf:
            more = self.s.recv(65536)
            if not more:
                raise RuntimeError("closed")
            buf += more
        head, body = buf.split(b"\r\n\r\n", 1)
        size = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
        while size and len(body) < int(size[1]):
            body += self.s.recv(65536)
        return int(head.split()[1]), body


# ---- correctness -------------------------------------------------------------

def check(standing, requests=20000):
    """The split, the header rule, the unknown host, TLS; raises where one is wrong. Percent to B."""
    percent = check_split(standing, requests)
    if not 4.3 <= percent <= 5.7:   # 4.5 standard deviations at 20,000 draws
        raise RuntimeError(f"{standing.name}: {percent:.2f}% to B")
    client = Client(standing.job.port)
    for _ in range(300):
        client.send("X-User: bob\r\n")
        if client.recv() != (200, b"v2"):
            raise RuntimeError(f"{standing.name}: header rule")
    client = Client(standing.job.port)
    client.send(host="other.example.test")
    status, body = client.recv()
    if status == 200:
        raise RuntimeError(f"{standing.name}: unknown host got {body[:20]!r}")
    for alpn, want in (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "h2"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(alpn)
        s = Client(standing.job.tls, context).s
        if (s.version(), s.selected_alpn_protocol()) != ("TLSv1.3", want):
            raise RuntimeError(f"{standing.name}: {s.version()} {s.selected_alpn_protocol()}")
    return percent


def check_split(standing, requests):
    clients = [Client(standing.job.port) for _ in range(16)]
    counts = {b"v1": 0, b"v2": 0}
    while sum(counts.values()) < requests:
        for client in clients:
            client.send()
        for client in clients:
            status, body = client.recv()
            if status != 200 or body not in counts:
                raise RuntimeError(f"{standing.name}: {status} {body[:80]!r}")
            counts[body] += 1
    return 100 * counts[b"v2"] / sum(counts.values())


# ---- load --------------------------------------------------------------------

def pinned(pin):
    return ["taskset", "-c", str(pin)] if pin is not None else []


def run_wrk(url, seconds, extra=(), pin=1):
    """(requests, seconds, failures)"""
    text = subprocess.run([*pinned(pin), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {HOST}",
                           *extra, url], capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    done = re.search(r"(\d+) requests in ([\d.]+)(m?s|m)", text)
    took = float(done[2]) * {"s": 1, "ms": .001, "m": 60}[done[3]]
    bad = sum(int(x) for x in re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", text))
    return int(done[1]), took, bad


def run_h2load(port, seconds, pin=1):
    began = time.time()
    text = subprocess.run([*pinned(pin), "h2load", "-t1", "-c16", "-m4", "-D", str(seconds), "-H", f":authority: {HOST}",
                           f"--connect-to=127.0.0.1:{port}", f"https://{HOST}:{port}/"],
                          capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    if "Application protocol: h2" not in text:
        raise RuntimeError("no h2: " + text[-500:])
    m = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    return int(m[1]), min(time.time() - began, seconds), int(m[2]) + int(m[3])


def measure(standing, case, seconds):
    """One run of one case."""
    pin, job = (None if case == "two" else 1), standing.job
    pids = standing.pids()
    stolen, used = steal(), cpu(pids)
    if case == "h2":
        count, took, bad = run_h2load(job.tls, seconds, pin)
    elif case == "tls":
        count, took, bad = run_wrk(f"https://{HOST}:{job.tls}/", seconds, pin=pin)
    else:
        extra = ("-H", "Connection: close") if case == "close" else ()
        count, took, bad = run_wrk(f"http://127.0.0.1:{job.port}/{'big' if case == 'big' else ''}", seconds, extra, pin)
    used, after = cpu(pids) - used, steal()
    return {"cpu_us": used / max(1, count) * 1e6, "rps": count / took, "busy": used / took, "requests": count,
            "errors": bad, "steal": (after[0] - stolen[0]) / max(1, after[1] - stolen[1])}


def latency(standing, pace, rate, seconds):
    """Percentiles in microseconds at a fixed rate, from the moment each request was due."""
    text = subprocess.run(["taskset", "-c", "1", pace, str(standing.job.port), str(rate), str(seconds), str(CONNECTIONS),
                           HOST, "/"], capture_output=True, text=True, timeout=seconds + 60).stdout
    return json.loads(text)


def memories(standing, clients=1000):
    """MiB before any load, and KiB for each idle keep-alive client that did one request."""
    before = memory(standing.pids())
    held = []
    for _ in range(clients):
        client = Client(standing.job.port)
        client.send()
        client.recv()
        held.append(client)
    time.sleep(0.5)
    after = memory(standing.pids())
    for client in held:
        client.s.close()
    return {"rss": before[0], "each_kib": (after[1] - before[1]) * 1024 / clients}
