"""``obmd-manage db ...``"""

from obmd.cmd.manage import base
from obmd.db import engine


class DbUpgrade(base.Command):
    """Create or update the tables of the database.

    Run it once before the services first start, and after each update of obmd, before the
    updated services start. It does nothing when there is nothing to do; two at once wait for
    each other.
    """

    def take_action(self, parsed_args):
        engine.setup()
        before = engine.version()
        engine.upgrade()
        if before == engine.version():
            self.say(f'already at revision {before}')
        else:
            self.say(f'from revision {before or "nothing"} to {engine.version()}')


class DbVersion(base.Command):
    """Print the revision that the database has, and the one that this obmd needs."""

    def take_action(self, parsed_args):
        engine.setup()
        self.say(f'database: {engine.version() or "empty"}')
        self.say(f'obmd: {engine.head()}')


class DbCheck(base.Command):
    """Check that the services can use the database: reachable, and at the right revision.

    Says nothing and exits with 0 when they can; for scripts.
    """

    def take_action(self, parsed_args):
        base.open_database()
