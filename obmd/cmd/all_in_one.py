"""``obmd``: API and conductor in one process; what replaces OBMd one for one."""

import argparse
import secrets
import sys

from obmd.cmd import startup

PROG = 'obmd'

DESCRIPTION = """\
The out-of-band management plane for bare metal, all in one process: HTTP API, conductor and
console streams on one port, SQLite, PostgreSQL or MariaDB behind it, no message broker.

Without arguments it serves http://127.0.0.1:8380 and keeps its state (database, keys, admin
token) in ./obmd-state. Options come from --config-file, from /etc/obmd/obmd.conf, and from the
environment as OS_<GROUP>__<OPTION>.
"""

EPILOG = """\
environment, as OBMd takes it (any of these switches to OBMd's rules):
  DB_TYPE       sqlite3 or postgres
  DB_PATH       a file, :memory:, or a libpq string like "host=... dbname=obmd"
  LISTEN_ADDR   host:port or :port
  ADMIN_TOKEN   32 hexadecimal digits, required (obmd -gen-token prints some)
  TLS_CERT      PEM file; with TLS_KEY serves HTTPS
  TLS_KEY       PEM file
  INSECURE      true allows plain HTTP on an address that is not loopback

and obmd's own:
  OBMD_STATE_DIR    folder of the state, instead of ./obmd-state
  OBMD_DEMO_NODES   number of simulated BMCs of --demo (default 8)
"""


def parse(arguments):
    """:returns: (namespace, list of what is left for oslo.config)."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        '-gen-token', '--gen-token', action='store_true', help='print a fresh token and exit'
    )
    parser.add_argument(
        '-config',
        '--config',
        metavar='FILE',
        help='JSON file as OBMd 0.1 and 0.2 took it, instead of the environment',
    )
    parser.add_argument(
        '--demo',
        action='store_true',
        help='start simulated BMCs, register them and print commands to try',
    )
    parser.add_argument('--version', action='store_true', help='print the version and exit')
    startup.add_config_file(parser)
    namespace, rest = parser.parse_known_args(arguments)
    return namespace, startup.with_files(namespace, rest)


def main(arguments=None):
    """Entry point.  :returns: int, exit status."""
    namespace, rest = parse(sys.argv[1:] if arguments is None else arguments)
    if namespace.gen_token:
        print(secrets.token_hex(16))
        return 0
    if namespace.version:
        from obmd import version

        print(version.VERSION)
        return 0
    startup.patch()
    from obmd.cmd import all_in_one_service

    return startup.run(PROG, all_in_one_service.serve, namespace, rest)
