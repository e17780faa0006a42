"""``obmd-manage action ...``"""

from obmd.cmd.manage import base
from obmd.common import command_table
from obmd.conductor.builtin import metadata


class ActionCheck(base.Lister):
    """List every command, the ranks that it has scripts for, and what is wrong with it.

    Reads the folders of [actions] command_dirs on this machine. The exit status is 1 when
    something is wrong. A command with "not listed" is one that nobody can run until it is put
    right.
    """

    def run(self, parsed_args):
        return super().run(parsed_args) or self._status

    def take_action(self, parsed_args):
        found = command_table.Table(metadata.METADATA).refresh()
        rows = [_row(one) for one in found.commands.values()]
        rows += [_fault(one) for one in found.faults]
        self._status = int(any(row[-1] not in ('', command_table.HIDDEN) for row in rows))
        columns = ('Command', 'Ranks', 'Where', 'Problem')
        return columns, sorted(tuple(map(base.printable, row)) for row in rows)


def _row(command):
    ranks = [*command.ranks, *(['(built in)'] if command.builtin else [])]
    return command.name, ', '.join(ranks), command.root or '', '; '.join(command.notes)


def _fault(fault):
    if fault.name is None or fault.reason == command_table.HIDDEN:
        return fault.name, '', fault.where, fault.reason
    return fault.name, '', fault.where, f'not listed: {fault.reason}'
