"""``obmd-conductor``: owns nodes, holds their BMC sessions and consoles, serves their streams."""

import argparse
import sys

from obmd.cmd import startup

PROG = 'obmd-conductor'

DESCRIPTION = """\
A conductor of obmd: owns its share of the nodes, talks to their BMCs, keeps their consoles and
serves console streams on its callback URL. It takes calls from obmd-api over the message bus.

It needs a database that "obmd-manage db upgrade" has set up, the conductors' private key
("obmd-manage key new"), a message bus ([DEFAULT] transport_url) and a state_path of its own.
Options come from --config-file, /etc/obmd/obmd.conf and OS_<GROUP>__<OPTION>.
"""


def main(arguments=None):
    """Entry point.  :returns: int, exit status."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Other options of oslo.config (--config-dir, --debug, --log-file) work too.',
        allow_abbrev=False,
    )
    startup.add_config_file(parser)
    namespace, rest = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    startup.patch()
    from obmd.cmd import conductor_service

    return startup.run(PROG, conductor_service.serve, startup.with_files(namespace, rest))
