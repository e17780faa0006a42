"""``obmd-manage key ...`` and ``rekey``"""

import os

from obmd.cmd.manage import base
from obmd.common import errors
from obmd.common import secrets
from obmd.db import descriptions
from obmd.db import nodes


class KeyNew(base.Command):
    """Make a key pair to which BMC credentials are sealed; add one when there is one already.

    Writes [secrets] private_key_file (0600) and public_key_file. Give the private file to every
    conductor first and to nobody else, then the public file to every API host. The older keys
    stay in the private file, so that what is sealed to them can be opened; "obmd-manage rekey"
    seals it to the newest.
    """

    def take_action(self, parsed_args):
        private, public = secrets.key_paths()
        make = secrets.add_key if os.path.exists(private) else secrets.create_keys
        made = make(private, public)
        self.say(f'key {made.key_id}')
        self.say(f'private, for the conductors: {private}')
        self.say(f'public, for the API: {public}')


class KeyList(base.Lister):
    """List the keys of this machine by id: never the keys themselves."""

    def take_action(self, parsed_args):
        private, public = secrets.key_paths()
        rows = []
        if os.path.exists(private):
            keyring = secrets.Keyring.load(private)
            newest = keyring.public.key_id
            rows += [(one, 'private', private, one == newest) for one in keyring.key_ids]
        if os.path.exists(public) or not rows:
            rows.append((secrets.PublicKey.load(public).key_id, 'public', public, True))
        return ('Key id', 'Half', 'File', 'Newest'), rows


class Rekey(base.Command):
    """Seal every node's BMC credentials and instance_info to the newest key.

    After "obmd-manage key new", once every conductor has the new private file. Needs that file,
    so run it where a conductor runs. Services may go on meanwhile; what is at the newest key
    already is left alone, so it can be run again.
    """

    def take_action(self, parsed_args):
        base.open_database()
        self._keyring = secrets.Keyring.load(secrets.key_paths()[0])
        self._seen = self._done = self._failed = 0
        newest = self._keyring.public.key_id
        for node in base.every_node():
            self._seen += 1
            if node.key_id != newest:
                self._try(node.name, self._credentials, node)
            if self._seen % base.PAGE == 0:
                self.progress(f'{self._seen} nodes seen, {self._done} sealed anew')
        for uuid, name, sealed, key_id in _instance_infos(newest):
            self._try(name, self._instance_info, uuid, sealed, key_id)
        said = f'{self._seen} nodes seen, {self._done} sealed anew, {self._failed} failed'
        self.progress(said)
        self.say(f'newest key: {newest}')
        return 1 if self._failed else 0

    def _try(self, name, reseal, *args):
        try:
            self._done += reseal(*args)
        except (errors.SealMismatch, errors.KeyMissing) as error:
            self._failed += 1
            self.progress(f'{base.printable(name)}: {error.reason}')

    def _credentials(self, node):
        info = secrets.open_info(self._keyring, node)
        sealed, key_id = secrets.seal_info(
            self._keyring.public, node.uuid, node.driver, node.address, info
        )
        return nodes.reseal(node.uuid, node.sealed_info, sealed, key_id)

    def _instance_info(self, uuid, old_sealed, old_key_id):
        value = secrets.open_json(self._keyring, uuid, old_sealed, old_key_id)
        sealed, key_id = secrets.seal_json(self._keyring.public, uuid, value)
        return descriptions.reseal(uuid, old_sealed, sealed, key_id)


def _instance_infos(newest):
    """Yield what is sealed to another key than ``newest``, page by page."""
    last = ''
    while page := descriptions.sealed_to_others(newest, last, base.PAGE):
        yield from page
        last = page[-1][0]
