"""``obmd-manage conductor ...``"""

from obmd.cmd.manage import base
from obmd.db import conductors
from obmd.db import nodes


class ConductorList(base.Lister):
    """List the conductors that the database knows, dead ones included.

    A row of a dead conductor stays until its nodes have new owners. The beat of a live one moves
    from one look to the next.
    """

    def take_action(self, parsed_args):
        base.open_database()
        columns = ('Host', 'Group', 'Kind', 'State', 'Beat', 'Nodes', 'Types', 'Callback URL')
        columns += ('Key ids', 'Version', 'Started', 'Incarnation')
        return columns, [self._row(one) for one in conductors.all()]

    @staticmethod
    def _row(one):
        row = (
            one.host,
            one.conductor_group,
            one.kind,
            one.state,
            one.beat,
            len(nodes.owned_by(one.incarnation)),
            ' '.join(one.drivers),
            one.callback_url,
            ' '.join(one.key_ids),
            one.version,
            base.when(one.started_at),
            one.incarnation,
        )
        return tuple(base.printable(value) for value in row)
