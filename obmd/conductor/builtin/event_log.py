"""``ipmi-sel``"""

from obmd.conductor.builtin import usage

#: records of one answer; no BMC keeps so many
MOST = 10000
#: what ipmitool prints of an empty log
EMPTY = 'SEL has no entries'


def show(live, arguments, deadline, say, caller):
    """One line a record, oldest first: number (hexadecimal), time (UTC), sensor, event."""
    usage.require_none('ipmi-sel', arguments)
    live.require('event_log')
    with live.place(), live.bmc() as driver:
        records = driver.event_log(deadline, MOST)
    for record in records:
        say(_line(record))
    if not records:
        say(EMPTY)
    return 0


def _line(record):
    when = record['time'] or 'time unknown'
    text = f'{record["id"]:4x} | {when} | {record["sensor"]} | {record["event"]}'
    return ''.join(c if c.isprintable() else '?' for c in text)
