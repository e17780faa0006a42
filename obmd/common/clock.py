"""The clock by which leases and checks are judged."""

import time

#: CLOCK_BOOTTIME counts on while the machine is suspended; where a system has none, monotonic
_BOOT = getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC)


def boot_time():
    """:returns: float, seconds since the machine started, its time asleep included."""
    return time.clock_gettime(_BOOT)
