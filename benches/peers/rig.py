"""The rig: ports, processes, certificates, endpoints, and what /proc says of them."""
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from peers import HOST, Job, Nginx, Peer

TICK = os.sysconf("SC_CLK_TCK")


class Direct(Peer):
    """No proxy: the load straight at endpoint A, to see what the rig itself can do."""
    name, tls = "(direct)", False

    def path(self):
        return "direct"


def free_ports(count):
    """Ports that nobody listens on. All are held until the last is chosen."""
    held = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        held.append(s)
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def wait_port(port, proc, name, limit=60):
    end = time.time() + limit
    while time.time() < end and proc.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{name} does not listen on {port}")


def start(argv, pin, **options):
    """A process of its own session, on one CPU if `pin` names it."""
    pinned = ["taskset", "-c", str(pin)] if pin is not None else []
    return subprocess.Popen([*pinned, *argv], stdin=subprocess.DEVNULL, start_new_session=True, **options)


class Standing:
    """A started peer."""

    def __init__(self, peer, work, endpoints, certs, workers, pin, variant=""):
        self.peer, self.name, self.proc, self.pid = peer, peer.name, None, None
        folder = work / re.sub("[^a-z0-9]", "", peer.name)
        folder.mkdir()
        a, b, c = (port for port, _ in endpoints)
        self.job = Job(folder, *free_ports(3), a, b, *certs, workers, c, variant)
        self.endpoint_pid = endpoints[0][1].pid
        if isinstance(peer, Direct):
            self.job.port = endpoints[0][0]
            return
        peer.config(self.job)
        with open(folder / "log", "wb") as log:
            environ = {**os.environ, **peer.environ(self.job)}
            self.proc = start(peer.argv(self.job), pin, cwd=folder, stdout=log, stderr=log, env=environ)
        self.pid = self.proc.pid
        try:
            wait_port(self.job.port, self.proc, self.name)
            wait_port(self.job.tls, self.proc, self.name)
        except RuntimeError:
            self.stop()
            sys.stderr.write((folder / "log").read_text(errors="replace")[-2000:])
            raise

    def pids(self):
        return tree(self.pid or self.endpoint_pid)

    def stop(self):
        if not self.proc:
            return
        pids = self.pids() if self.proc.poll() is None else []
        for sig in signal.SIGTERM, signal.SIGKILL:
            if self.proc.poll() is None:
                self.proc.send_signal(sig)
                try:
                    self.proc.wait(3)
                except subprocess.TimeoutExpired:
                    continue
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


def endpoints(work, pin):
    """Two fast HTTP servers, v1 and v2, and one of long answers, as (port, process)."""
    (work / "www").mkdir()
    (work / "www" / "big").write_bytes(b"x" * 65536)
    (work / "www" / "chunked.txt").write_bytes(b"x" * 4096)
    out = []
    for name in "v1", "v2":
        folder = work / f"endpoint-{name}"
        folder.mkdir()
        port, = free_ports(1)
        (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; user root; pid {folder}/pid; error_log stderr crit; worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off; server_tokens off; default_type text/plain; sendfile on; client_max_body_size 0; client_body_buffer_size 2m; open_file_cache max=10;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  keepalive_requests 1000000000; keepalive_timeout 1h;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {work}/www;
    location / {{ return 200 "{name}"; }}
    location = /big {{ }}
    # A filter that may change the length sends chunks.
    location = /chunked.txt {{ ssi on; ssi_types text/plain; }} }}
}}""")
        argv = [Nginx().path(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        proc = start(argv, pin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        out.append((port, proc))
        wait_port(port, proc, "endpoint")
    port, = free_ports(1)
    argv = [sys.executable, str(Path(__file__).with_name("stream.py")), str(port)]
    out.append((port, start(argv, pin)))
    wait_port(*out[-1], "endpoint of long answers")
    return out


def self_signed(work):
    cert, key, both = work / "cert.pem", work / "key.pem", work / "both.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "30", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    return cert, key, both


# ---- what /proc says ---------------------------------------------------------

def tree(pid):
    """The process and all below it."""
    below = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            below.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += below.get(found[-1], [])
    return found


def cpu(pids):
    """CPU seconds of the processes, all threads, user and system."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def memory(pids):
    """(RSS, PSS) in MiB."""
    rss = pss = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        rss += int(re.search(r"^Rss:\s+(\d+)", text, re.M)[1])
        pss += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return rss / 1024, pss / 1024


def steal():
    """Ticks that the host took from this machine, and all ticks."""
    values = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return values[7], sum(values)
