"""``obmd-manage import obmd``: the nodes of an OBMd 0.x, once."""

import json
import os

import sqlalchemy as sa

from obmd.api import registration
from obmd.cmd import obmd_settings
from obmd.cmd.manage import base
from obmd.common import errors
from obmd.common import secrets
from obmd.db import dialects
from obmd.drivers import registry


class ImportObmd(base.Command):
    """Register the nodes that an OBMd 0.x has in its database.

    Its database is only read. BMC passwords, which it keeps in clear, are sealed here. A node
    that is registered already is left as it is, so the command can be given again. OBMd kept no
    tokens: enable the nodes in HIL once more afterwards.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'db_type', choices=['sqlite3', 'postgres'], help="OBMd's DB_TYPE, as it was set there."
        )
        parser.add_argument(
            'db_path',
            help="OBMd's DB_PATH: a file, or a libpq string. A password is better in ~/.pgpass.",
        )
        return parser

    def take_action(self, parsed_args):
        registry.load()
        base.open_database()
        public_key = secrets.PublicKey.load(secrets.key_paths()[1])
        failed = 0
        for label, text in _read(parsed_args.db_type, parsed_args.db_path):
            outcome, ok = _import(public_key, label, text)
            failed += not ok
            self.say(f'{base.printable(label)}: {outcome}')
        if failed:
            raise errors.Fatal(f'{failed} nodes were not imported')


def _read(db_type, db_path):
    """:returns: list of (label, JSON text).  :raises Fatal:"""
    url = obmd_settings.connection(db_type, db_path)
    if db_type == 'sqlite3' and not os.path.exists(sa.make_url(url).database):
        raise errors.Fatal(f'{db_path}: no such file')
    try:
        engine = sa.create_engine(dialects.url(url, '.'))
        with engine.connect() as connection:
            return connection.execute(
                sa.text('SELECT label, obm_info FROM nodes ORDER BY label')
            ).all()
    except sa.exc.SQLAlchemyError as error:
        raise errors.Fatal(f"this is no database of OBMd's: {dialects.one_line(error)}") from None


def _import(public_key, label, text):
    """:returns: (str, bool): what became of the node, and whether that is fine."""
    try:
        told = json.loads(text)
        registration.register(public_key, label, told['type'], told['info'])
    except errors.NodeExists:
        return 'is registered already', True
    except errors.InvalidInput as error:
        return f'not imported: {error.reason}', False
    except (ValueError, TypeError, KeyError):
        return 'not imported: its info is not what OBMd writes', False
    return 'imported', True
