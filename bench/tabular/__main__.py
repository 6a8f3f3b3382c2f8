"""`python -m bench.tabular`: every set, peer and seed in its own process, one thread; a table, and a picture."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from . import data, peers, report

ROOT = Path(__file__).parent.parent.parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def arguments():
    """Return the settings of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.tabular", description=__doc__)
    add = parser.add_argument
    add("--data", nargs="+", metavar="NAME", default=list(data.SETS), help=f"of {', '.join(data.SETS)}")
    add("--peers", nargs="+", metavar="NAME", default=list(peers.PEERS), help=f"of {', '.join(peers.PEERS)}")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the splits and of the peers")
    add("--json", metavar="PATH", help="keep all results; results that the file already has are not measured again")
    add("--picture", metavar="PATH", help="write a picture (matplotlib)")
    settings = parser.parse_args()
    for given, known in ((settings.data, data.SETS), (settings.peers, peers.PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"no {', '.join(unknown)}; there are {', '.join(known)}")
    return settings


def measured(name, peer, seed):
    """Return the result of a separate process for this set, peer and seed."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.tabular.worker", name, peer, str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | ONE_THREAD, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"set": name, "peer": peer, "seed": seed, "failed": reason[:300]}
    return json.loads(lines[-1])


def written(path, results):
    """Overwrite the file atomically, so that an interrupted run leaves the earlier results."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(results, indent=0))
    new.replace(path)


def main():
    """Measure, print the table, write the files."""
    settings = arguments()
    kept = Path(settings.json) if settings.json else None
    results = json.loads(kept.read_text()) if kept and kept.is_file() else []
    results = [r for r in results if "failed" not in r]     # failures are tried again
    have = {(r["set"], r["peer"], r["seed"]) for r in results}
    for seed in settings.seeds:
        for name in settings.data:
            for peer in settings.peers:
                if (name, peer, seed) in have:
                    continue
                results.append(measured(name, peer, seed))
                print(report.line(results[-1]), file=sys.stderr, flush=True)
                if kept:
                    written(kept, results)
    wanted = [r for r in results if r["set"] in settings.data and r["peer"] in settings.peers
              and r["seed"] in settings.seeds]
    print(report.text(wanted))
    if settings.picture:
        report.picture(wanted, settings.picture)
        print(f"picture: {settings.picture}")


if __name__ == "__main__":
    main()
