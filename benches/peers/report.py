"""The figures as markdown."""
import statistics

from load import CASES

# Below this part of its CPU the proxy was not the limit.
BUSY = 0.93
MEMORY = {"rss": "RSS before load, MiB", "each_kib": "each idle client, KiB", "event_kib": "each event stream, KiB",
          "socket_kib": "each WebSocket, KiB"}


def spread(values, digits=1):
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} [{low:.{digits}f}-{high:.{digits}f}]"


def markdown(results):
    """Every table that there are figures for."""
    peers, parts = results["peers"], [header(results)]
    cases = [case for case in CASES if any(case in peer["cases"] for peer in peers.values())]
    for title, cell in (("CPU microseconds per request", cpu_cell), ("Requests per second", rate_cell)):
        rows = [[name, peer["lane"], *(cell(peer["cases"].get(case)) for case in cases)] for name, peer in peers.items()]
        parts.append(table(title, ["peer", "lane", *cases], rows))
    parts.append("\n".join(f"- `{case}`: {CASES[case]}" for case in cases))
    parts.append(ratios(peers, cases))
    rates = sorted({int(rate) for peer in peers.values() for rate in peer.get("latency", {})})
    for rate in rates:
        rows = [[name, *(spread([run[q] for run in peer["latency"][str(rate)]], 0) for q in ("p50", "p99", "p999"))]
                for name, peer in peers.items() if peer.get("latency")]
        parts.append(table(f"Latency in microseconds at {rate} requests per second", ["peer", "p50", "p99", "p99.9"], rows))
    rows = [[name, *(f"{peer['memory'][key]:.1f}" if key in peer["memory"] else "-" for key in MEMORY)]
            for name, peer in peers.items() if peer.get("memory")]
    parts.append(table("Memory", ["peer", *MEMORY.values()], rows))
    rows = [[name, f"{peer['calls']['total']:.2f}", ", ".join(f"{call} {each:.2f}" for call, each in peer["calls"]["most"].items())]
            for name, peer in peers.items() if peer.get("calls")]
    parts.append(table("System calls per request, under strace", ["peer", "all", "the most frequent"], rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def header(results):
    lines = [f"{results['date']}, {results['cpus']} CPUs ({results['cpu']}), Linux {results['kernel']}. "
             f"Median [least-most] of {results['rounds']} interleaved rounds; the proxy on one CPU."]
    for name, peer in results["peers"].items():
        if "percent_b" in peer:
            lines.append(f"- {name} {peer['version']}: {peer['percent_b']:.2f} % to B over 20,000 requests")
    failed = {name: sum(run["errors"] for runs in peer["cases"].values() for run in runs)
              for name, peer in results["peers"].items()}
    bad = ", ".join(f"{name} {count}" for name, count in failed.items() if count)
    return "\n".join(lines + [f"- failed requests: {bad or 'none'}"])


def cpu_cell(runs):
    return spread([run["cpu_us"] for run in runs]) if runs else "-"


def rate_cell(runs):
    if not runs:
        return "-"
    limited = statistics.median(run["busy"] for run in runs) < BUSY
    return f"{statistics.median(run['rps'] for run in runs) / 1000:.1f}k{'*' if limited else ''}"


def ratios(peers, cases):
    """Weir's CPU per request over the peer's, each round against the same round."""
    weir = peers.get("weir", {"cases": {}})["cases"]
    rows = []
    for name, peer in peers.items():
        if name in ("weir", "(direct)"):
            continue
        cells = []
        for case in cases:
            pairs = list(zip(weir.get(case, []), peer["cases"].get(case, [])))
            cells.append(spread([own["cpu_us"] / other["cpu_us"] for own, other in pairs], 2) if pairs else "-")
        rows.append([f"weir / {name}", *cells])
    return table("Ratio of CPU per request (under 1: Weir needs less)", ["", *cases], rows)


def table(title, columns, rows):
    if not rows or len(columns) < 2:
        return ""
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
