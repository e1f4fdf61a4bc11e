#!/usr/bin/env python3
"""Weir beside other reverse proxies at the same weighted split, on this machine. README.md says what the figures are.

    python3 benches/peers/bench.py [--quick] [--peers weir,nginx] [--cases plain,tls,latency,memory] [--rounds 5]

Needs wrk, h2load, openssl, cc, taskset, and nginx for the endpoints. CPU 0 is the proxy's, CPU 1 the load's and the
endpoints', but for the case `two`. All peers stand at once, each on its own ports; rounds go through them in turn.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from load import CASES, VARIANTS, able, calls, check, latency, measure, memories
from peers import PEERS, ROOT
from report import markdown
from rig import Direct, Standing, endpoints, self_signed


# What is measured besides the cases of load.
OTHERS = ("latency", "memory", "calls")


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="names, comma separated; default all that are there")
    parser.add_argument("--cases", default=",".join((*CASES, *OTHERS)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one run")
    parser.add_argument("--rates", default="5000,20000", help="requests per second of the latency runs")
    parser.add_argument("--results", default="target/peers", help="folder for the results, below the project's root")
    parser.add_argument("--quick", action="store_true", help="two rounds of one second, few cases: a smoke test")
    a = parser.parse_args()
    if a.quick:
        a.rounds, a.seconds, a.cases = 2, 1, "plain,tls,h2,latency,memory"
    a.cases, a.rates = a.cases.split(","), [int(rate) for rate in a.rates.split(",")]
    unknown = set(a.cases) - {*CASES, *OTHERS}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join((*CASES, *OTHERS))}")
    return a


def chosen(names):
    """The peers that are there, the rig itself first."""
    wanted = names.split(",") if names else [peer.name for peer in PEERS]
    unknown = set(wanted) - {peer.name for peer in PEERS}
    if unknown:
        sys.exit(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peer.name for peer in PEERS)}")
    for peer in PEERS:
        if peer.name in wanted and not peer.path():
            say(f"{peer.name}: not there, left out")
    return [Direct(), *(peer for peer in PEERS if peer.name in wanted and peer.path())]


def version(peer):
    done = subprocess.run([peer.path(), peer.version_flag], capture_output=True, text=True, timeout=20)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"


def machine():
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return {"date": time.strftime("%Y-%m-%d"), "cpus": os.cpu_count(), "cpu": names[0] if names else "unknown",
            "kernel": os.uname().release}


class Bench:
    """The peers of one run, and what was measured of them."""

    def __init__(self, a, work):
        self.a, self.work, self.peers = a, work, chosen(a.peers)
        self.results = {**machine(), "rounds": a.rounds, "peers": {}}
        self.certs = self_signed(work)

    def run(self):
        asked = [case for case in CASES if case in self.a.cases]
        pinned = [case for case in asked if case != "two" and case not in VARIANTS]
        if pinned or set(OTHERS) & set(self.a.cases):
            self.stand(workers=1, pin=0, cases=pinned)
        for case in asked:
            if case in VARIANTS:
                self.stand(workers=1, pin=0, cases=[case], variant=case)
        if "two" in self.a.cases:
            self.stand(workers=2, pin=None, cases=["two"])

    def stand(self, workers, pin, cases, variant=""):
        """Starts endpoints and peers, measures, and stops all of them whatever happens."""
        work = self.work / f"{workers}{variant}"
        work.mkdir()
        behind, standing = endpoints(work, None if pin is None else 1), []
        try:
            for peer in (peer for peer in self.peers if not variant or able(peer, variant)):
                self.start(peer, standing, lambda peer=peer: Standing(peer, work, behind, self.certs, workers, pin, variant))
            for case in cases:
                self.rounds(case, standing)
            if pin is not None and not variant:
                self.others(standing)
        finally:
            for one in standing:
                one.stop()
            for _, proc in behind:
                proc.kill()
                proc.wait()

    def start(self, peer, standing, make):
        """Starts and checks one peer; one that does not do the job is left out."""
        try:
            one = make()
        except RuntimeError as error:
            say(f"{error}; left out")
            return
        standing.append(one)
        result = self.results["peers"].setdefault(peer.name, {"cases": {}, "lane": peer.lane})
        if not one.pid:
            return
        try:
            if "memory" in self.a.cases and "memory" not in result and not one.job.variant:
                time.sleep(0.5)
                result["memory"] = memories(one)
            percent = check(one)
            if peer.splits and not one.job.variant:
                result["percent_b"], result["version"] = percent, version(peer)
                say(f"{peer.name} {result['version']}: {percent:.3f}% to B")
        except (RuntimeError, OSError) as error:
            say(f"{peer.name}: {error}; left out")
            standing.remove(one)
            one.stop()
            del self.results["peers"][peer.name]

    def rounds(self, case, standing):
        for number in range(self.a.rounds):
            for one in (one for one in standing if able(one.peer, case)):
                run = measure(one, case, self.a.seconds)
                self.results["peers"][one.name]["cases"].setdefault(case, []).append(run)
                say(f"{case} {number + 1}/{self.a.rounds} {one.name}: {run['cpu_us']:.1f} us, {run['rps']:.0f}/s, "
                    f"{run['busy']:.2f} CPU, {run['errors']} errors, steal {100 * run['steal']:.1f}%")

    def others(self, standing):
        if "calls" in self.a.cases and shutil.which("strace"):
            for one in (one for one in standing if one.pid):
                self.results["peers"][one.name]["calls"] = calls(one, 1)
        if "latency" in self.a.cases:
            self.latencies(standing)

    def latencies(self, standing):
        pace = self.work / "pace"
        subprocess.run(["cc", "-O2", "-o", pace, Path(__file__).with_name("pace.c")], check=True)
        for number in range(min(3, self.a.rounds)):
            for one, rate in ((one, rate) for rate in self.a.rates for one in standing):
                run = latency(one, pace, rate, max(2, self.a.seconds))
                self.results["peers"][one.name].setdefault("latency", {}).setdefault(str(rate), []).append(run)
                say(f"latency {number + 1} {one.name} at {rate}: p50 {run['p50']:.0f} us, p99 {run['p99']:.0f} us")


def main():
    a = arguments()
    if (os.cpu_count() or 1) < 2:
        sys.exit("two CPUs are needed: one for the proxy, one for load and endpoints")
    work = Path(tempfile.mkdtemp(prefix="weir-peers-"))
    try:
        bench = Bench(a, work)
        bench.run()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    out = ROOT / a.results
    out.mkdir(parents=True, exist_ok=True)
    text = markdown(bench.results)
    (out / "results.json").write_text(json.dumps(bench.results, indent=1))
    (out / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
