"""The programs that obmd is compared with, as their users call them."""

import subprocess
import time


class PeerFailed(Exception):
    """A peer did not do what it was asked for, so its time says nothing."""


def ipmipower_stat(bmcs, timeout=120):
    """FreeIPMI's ``ipmipower --stat`` for all of ``bmcs`` (list of dicts of the farm).

    :returns: (seconds, number of BMCs whose power it tells).
    """
    hosts = ','.join(f'{bmc["address"]}:{bmc["port"]}' for bmc in bmcs)
    user, password = bmcs[0]['user'], bmcs[0]['password']
    command = ['ipmipower', '-h', hosts, '-u', user, '-p', password]
    # ipmi_sim: LAN 2.0, cipher suite 3, and an error of its own in the login
    command += ['-D', 'LAN_2_0', '-I', '3', '-W', 'opensesspriv', '--stat']
    took, output = _run(command, timeout)
    told = [line for line in output.splitlines() if line.endswith((': on', ': off'))]
    return took, len(told)


def ipmitool_status(bmc, timeout=60):
    """``ipmitool chassis power status``.  :returns: seconds."""
    command = ['ipmitool', '-I', 'lanplus', '-C', '3', '-H', bmc['address']]
    command += ['-p', str(bmc['port']), '-U', bmc['user'], '-P', bmc['password']]
    took, output = _run([*command, 'chassis', 'power', 'status'], timeout)
    if 'Chassis Power is' not in output:
        raise PeerFailed(output)
    return took


def _run(command, timeout):
    started = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    return time.monotonic() - started, done.stdout + done.stderr
