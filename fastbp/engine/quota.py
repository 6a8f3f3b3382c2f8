"""How many processors the control group of this process may keep busy (Linux).

In a container with a limit these are fewer than the machine has.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lines of hierarchy:controllers:path; no controllers in version 2
RENEWED = 1.0  # seconds after which it is read again: the limit of a running container may change

_known = -math.inf, math.inf    # when it was read, what it was


def processors() -> float:
    """`smallest`, at most one second old."""
    global _known
    now = time.monotonic()
    if now >= _known[0] + RENEWED:
        _known = now, smallest()
    return _known[1]


def smallest() -> float:
    """The smallest quota of the process's groups and their parents; infinite if none has one."""
    return min((quota(folder) for folder in folders("cpu")), default=math.inf)


def quota(folder: Path) -> float:
    """Time over period, of cpu.max (version 2) or cpu.cfs_* (version 1); infinite if there is no limit."""
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            time, period = " ".join((folder / name).read_text() for name in names).split()
            return int(time) / int(period) if int(time) > 0 < int(period) else math.inf
        except (OSError, ValueError):   # no such file, or "max"
            continue
    return math.inf


def folders(controller: str) -> Iterator[Path]:
    """The groups of this controller, from the process's own up to the root."""
    try:
        lines = OWN.read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = GROUPS / controllers
            place = root / path.lstrip("/")
            yield from (folder for folder in (place, *place.parents) if folder.is_relative_to(root))
