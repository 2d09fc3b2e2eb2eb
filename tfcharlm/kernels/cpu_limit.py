"""The limit of a container: a machine may have many cores of whose time its processes may only use a part."""

import math
from collections.abc import Iterator
from pathlib import Path

CONTROL_GROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cpu_limit(root: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> float:
    """How many cores' time this process may use, by the control groups (version 1 or 2) of Linux.

    Returns:
        A number above 0, such as 0.5 or 4.0; infinity if there is no limit.
    """
    return min(_limits(root, membership), default=math.inf)


def _limits(root: Path, membership: Path) -> Iterator[float]:
    try:
        lines = membership.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return  # not Linux
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        group = root if number == "0" else root / "cpu"
        yield from _limit(group)
        # A group is limited by those around it, too. In a container, the root is often its own group.
        for name in path.strip("/").split("/"):
            if name in ("", ".."):
                break
            group /= name
            yield from _limit(group)


def _limit(group: Path) -> Iterator[float]:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if quota != "max" and int(quota) > 0 and int(period) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):
        pass  # a group without a limit has no such file
