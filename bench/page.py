"""Write the measured tables between the two marks of README.md and docs/benchmark.md."""

from pathlib import Path

from .contest import OURS, ROOT
from .report import cell_of, fastest_peer, markdown, percent, ratio, share, shown, text, times
from .workloads import TABLE

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
DTYPES = ("float32", "float64")
SHORT = (   # the rows of README.md
    "online 784-30-10", "online 4-8-3", "batch 32 784-128-10", "batch 2,000 784-256-128-10", "Adam 784-100-10",
    "Adam 20-100-1 regression", "J and D 400-25-10", "predict 4-8-3", "predict 784-30-10", "J and D of (1, 4) 4-8-3",
    "step, 64 rows of 10-32-32-1 tanh", "train 64-30-10, a call of 1 epoch",
)


def threaded():
    """Return the workloads in which more threads are expected to pay off."""
    return [workload for workload in TABLE if workload.two_threads]


def best(cell):
    """Return the fastest peer's name and figure."""
    peer = fastest_peer(cell)
    return f"{peer['peer']} {shown(peer)}" if peer else ""


def one_thread(report, isa, names=None):
    """Return the table of one thread: the figure and its fraction of the roofline, the fastest peer, the ratio."""
    rows = [["work", "unit"]]
    for dtype in DTYPES:
        rows[0] += [dtype, "of its roofline", "next fastest", "ahead"]
    for workload in TABLE:
        if names and workload.name not in names:
            continue
        line, found = [workload.name], []
        for dtype in DTYPES:
            cell = cell_of(report["results"], workload.name, dtype, 1, isa)
            ours = cell.get(OURS)
            found += [ours] if ours else []
            line += [shown(ours), percent(share(ours)), best(cell), times(ratio(fastest_peer(cell), ours))]
        if found:
            rows.append([line[0], found[0]["unit"], *line[1:]])
    return markdown(rows)


def two_threads(report, isa):
    """Return the table of two threads: against fastbp with one, and against the fastest peer with two."""
    rows = [["work", "unit"]]
    for dtype in DTYPES:
        rows[0] += [f"{dtype}, 1 thread", "2 threads", "gain", "next fastest with 2", "ahead"]
    for workload in threaded():
        line, found = [workload.name], []
        for dtype in DTYPES:
            one, two = (cell_of(report["results"], workload.name, dtype, n, isa) for n in (1, 2))
            ours, pair = one.get(OURS), two.get(OURS)
            found += [pair] if pair else []
            gain, ahead = times(ratio(ours, pair)), times(ratio(fastest_peer(two), pair))
            line += [shown(ours), shown(pair), gain, best(two), ahead]
        if found:
            rows.append([line[0], found[0]["unit"], *line[1:]])
    return markdown(rows) if len(rows) > 1 else ""


def heading(report, isa):
    """Return the name of a run's vectors, as fastbp calls them."""
    version = report["versions"][isa].get("peer_fastbp", "")
    name = version.partition("(")[2].rstrip(")") or isa
    return {"avx512": "AVX-512", "avx2": "AVX2"}.get(name, name)


def provenance(report):
    """Return the origin of the figures in a sentence."""
    peaks = []
    for isa, ceiling in report["ceilings"].items():
        flops = " and ".join(f"{ceiling['flops'][dtype] / 1e9:.0f} {dtype}" for dtype in ceiling["flops"])
        peaks.append(f"{heading(report, isa)} {flops}")
    found = next(iter(report["versions"].values()))
    versions = "; ".join(version for name, version in found.items() if name != "ceiling")
    return (
        f"Measured on {report['date'][:10]} by `{report['command']}`. Machine: {report['machine']}. Independent "
        f"multiply-adds of one core, GFLOP/s: {', '.join(peaks)}. Versions: {versions}."
    )


def sections(report, level):
    """Return the tables of every instruction set and number of threads."""
    parts = []
    for isa in report["versions"]:
        name = heading(report, isa)
        parts += [f"{level} {name}, one thread", one_thread(report, isa)]
        pair = two_threads(report, isa)
        if pair:
            parts += [f"{level} {name}, two threads", pair]
    return parts


def readme(report):
    """Return the block of README.md: some rows of the first table."""
    isa = next(iter(report["versions"]))
    machine = report["machine"].partition(";")[0]
    where = f"Measured on {report['date'][:10]}, {machine}; {heading(report, isa)}, one thread."
    return "\n\n".join([where, one_thread(report, isa, SHORT)])


def page(report):
    """Return the block of docs/benchmark.md: the tables of every run, then every peer's figures."""
    everything = text(report).replace("\n## ", "\n### ")
    return "\n\n".join([provenance(report), *sections(report, "##"), "## Every peer", everything])


def put(path, block):
    """Replace the text between the marks; ValueError if a page has none."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{after}")
    return path


def write(report, root=ROOT):
    """Write both pages; return their paths."""
    root = Path(root)
    return [put(root / "README.md", readme(report)), put(root / "docs" / "benchmark.md", page(report))]
