"""``obmd-api``: the HTTP API, in as many processes as ``[api] workers`` says."""

import argparse
import sys

from obmd.cmd import startup

PROG = 'obmd-api'

DESCRIPTION = """\
The HTTP API of obmd: checks requests and tokens and calls the conductors over the message bus.
It never talks to a BMC and cannot read a BMC's password.

It needs a database that "obmd-manage db upgrade" has set up, the conductors' public key, the
file with the admin token ([api] admin_token_file), the secret of access tokens ([actions]
jwt_secret_file) and a message bus ([DEFAULT] transport_url).
Options come from --config-file, /etc/obmd/obmd.conf and OS_<GROUP>__<OPTION>.
"""


def main(arguments=None):
    """Entry point.  :returns: int, exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog=PROG,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Other options of oslo.config (--config-dir, --debug, --log-file) work too.',
        allow_abbrev=False,
    )
    startup.add_config_file(parser)
    namespace, rest = parser.parse_known_args(arguments)
    startup.patch()
    from obmd.cmd import api_service

    return startup.run(PROG, api_service.start, startup.with_files(namespace, rest), arguments)
