"""Load and what is measured under it: correctness first, then CPU, latency, memory."""
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

from peers import HOST, HOSTS
from rig import cpu, memory, steal

CONNECTIONS = 64

CASES = {
    "plain": "HTTP/1.1 keep-alive, 64 connections",
    "big":   "the same, 64 KiB body",
    "tls":   "HTTP/1.1 keep-alive over TLS 1.3",
    "h2":    "HTTP/2 over TLS 1.3, 16 connections x 4 streams",
    "close": "HTTP/1.1, a new connection each request",
    "post1k": "POST of 1 KiB, keep-alive",
    "post1m": "POST of 1 MiB, keep-alive",
    "chunked": "answers of 4 KiB in chunks, keep-alive",
    "ws":    "WebSocket echo, 64 connections, one message of 64 bytes under way on each; figures are per message",
    "log":   "as `plain`, with an access log",
    "keyed": "as `plain`, split by a routing key of 10,000",
    "hosts": f"as `plain`, one of {HOSTS:,} hosts for each request",
    "two":   "HTTP/1.1 keep-alive, 2 workers, nothing pinned",
}

# Cases that need peers of another configuration.
VARIANTS = ("log", "keyed", "hosts")
PATHS = {"big": "big", "chunked": "chunked.txt"}
SCRIPTED = {"post1k": {"BODY": 1 << 10}, "post1m": {"BODY": 1 << 20}, "keyed": {"KEYS": 10_000}, "hosts": {"HOSTS": HOSTS}}


def able(peer, case):
    """Whether this peer can do this case."""
    if case in VARIANTS:
        return case in peer.variants
    if case in ("tls", "h2"):
        return peer.tls
    return peer.streams if case == "ws" else True


class Client:
    """The smallest HTTP/1.1 client: one request at a time on one connection."""

    def __init__(self, port, tls=None):
        self.s = socket.create_connection(("127.0.0.1", port), 5)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.s = tls.wrap_socket(self.s, server_hostname=HOST)

    def send(self, extra="", host=HOST, path="/"):
        self.s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode())

    def head(self):
        """Status, head, and what came behind it."""
        buf = b""
        while b"\r\n\r\n" not in buf:
            more = self.s.recv(65536)
            if not more:
                raise RuntimeError("closed")
            buf += more
        head, body = buf.split(b"\r\n\r\n", 1)
        return int(head.split()[1]), head, body

    def recv(self):
        status, head, body = self.head()
        size = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
        while size and len(body) < int(size[1]):
            body += self.s.recv(65536)
        return status, body


# ---- correctness -------------------------------------------------------------

def check(standing, requests=20000):
    """The split, the header rule, the unknown host, TLS; raises where one is wrong. Percent to B."""
    if not standing.peer.splits:
        return 0.0
    if standing.job.variant == "keyed":
        requests = 0    # without keys every caller is the same to some peers
    percent = check_split(standing, requests)
    if requests and not 4.3 <= percent <= 5.7:   # 4.5 standard deviations at 20,000 draws
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
    return 100 * counts[b"v2"] / max(1, sum(counts.values()))


# ---- load --------------------------------------------------------------------

def pinned(pin):
    return ["taskset", "-c", str(pin)] if pin is not None else []


def run_wrk(url, seconds, extra=(), pin=1, script=None):
    """(requests, seconds, failures). `script`: what wrk.lua is told by its environment."""
    if script:
        extra = (*extra, "-s", Path(__file__).with_name("wrk.lua"))
    environ = {**os.environ, **{name: str(value) for name, value in (script or {}).items()}}
    text = subprocess.run([*pinned(pin), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {HOST}",
                           *extra, url], capture_output=True, text=True, check=True, timeout=seconds + 30, env=environ).stdout
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


UPGRADE = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


def run_tunnels(port, seconds):
    """(messages, seconds, failures). The message is the same each time: nobody on the way looks into it."""
    message, queue, tunnels = b"\x82\x3e" + b"x" * 62, select.epoll(), {}
    for _ in range(CONNECTIONS):
        client = Client(port)
        client.send(UPGRADE, path="/ws")
        if client.head()[0] != 101:
            raise RuntimeError("no tunnel")
        tunnels[client.s.fileno()] = client.s
        queue.register(client.s.fileno(), select.EPOLLIN)
        client.s.sendall(message)
    count, began = 0, time.time()
    while (took := time.time() - began) < seconds:
        for fd, _ in queue.poll(0.5):
            if tunnels[fd].recv(4096) != message:
                raise RuntimeError("a tunnel is broken or out of step")
            count += 1
            tunnels[fd].sendall(message)
    return count, took, 0


def measure(standing, case, seconds):
    """One run of one case."""
    pin, job = (None if case == "two" else 1), standing.job
    pids = standing.pids()
    stolen, used = steal(), cpu(pids)
    if case == "h2":
        count, took, bad = run_h2load(job.tls, seconds, pin)
    elif case == "tls":
        count, took, bad = run_wrk(f"https://{HOST}:{job.tls}/", seconds, pin=pin)
    elif case == "ws":
        count, took, bad = run_tunnels(job.port, seconds)
    else:
        extra = ("-H", "Connection: close") if case == "close" else ()
        url = f"http://127.0.0.1:{job.port}/{PATHS.get(case, '')}"
        count, took, bad = run_wrk(url, seconds, extra, pin, SCRIPTED.get(case))
    used, after = cpu(pids) - used, steal()
    return {"cpu_us": used / max(1, count) * 1e6, "rps": count / took, "busy": used / took, "requests": count,
            "errors": bad, "steal": (after[0] - stolen[0]) / max(1, after[1] - stolen[1])}


def latency(standing, pace, rate, seconds):
    """Percentiles in microseconds at a fixed rate, from the moment each request was due."""
    text = subprocess.run(["taskset", "-c", "1", pace, str(standing.job.port), str(rate), str(seconds), str(CONNECTIONS),
                           HOST, "/"], capture_output=True, text=True, timeout=seconds + 60).stdout
    return json.loads(text)


def memories(standing, clients=1000):
    """MiB before any load, and KiB for each idle keep-alive client that did one request, for each open event stream, and for
    each open WebSocket."""
    out = {"rss": memory(standing.pids())[0], "each_kib": memory_of(standing, clients, "/")}
    if standing.peer.streams:
        out["event_kib"] = memory_of(standing, clients, "/events")
        out["socket_kib"] = memory_of(standing, clients, "/ws", UPGRADE)
    return out


def memory_of(standing, clients, path, extra=""):
    before, held = memory(standing.pids()), []
    for _ in range(clients):
        client = Client(standing.job.port)
        client.send(extra, path=path)
        client.head() if standing.peer.streams and path != "/" else client.recv()
        held.append(client)
    time.sleep(0.5)
    after = memory(standing.pids())
    for client in held:
        client.s.close()
    time.sleep(0.5)
    return (after[1] - before[1]) * 1024 / clients


def calls(standing, seconds):
    """System calls for each request under strace, which slows a peer down: those that wait are fewer than without it."""
    out = standing.job.dir / "strace"
    pids = [word for pid in standing.pids() for word in ("-p", str(pid))]
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out, *pids], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    count, _, _ = run_wrk(f"http://127.0.0.1:{standing.job.port}/", seconds)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", out.read_text(), re.M)
    each = {name: int(times) / max(1, count) for times, name in rows if name != "total"}
    return {"total": sum(each.values()), "most": dict(sorted(each.items(), key=lambda pair: -pair[1])[:4])}
