"""Every command of ``obm`` in one table; a command's module is imported when it is used."""

import importlib

OBM = {
    'action list': 'actions:ActionList',
    'action show': 'actions:ActionShow',
    'action run': 'actions:ActionRun',
    'audit list': 'audit:AuditList',
    'boot show': 'boot:BootShow',
    'boot set': 'boot:BootSet',
    'console': 'console:Console',
    'driver list': 'drivers:DriverList',
    'driver show': 'drivers:DriverShow',
    'estate show': 'estate:EstateShow',
    'estate change': 'estate:EstateChange',
    'group list': 'groups:GroupList',
    'group show': 'groups:GroupShow',
    'group set': 'groups:GroupSet',
    'group delete': 'groups:GroupDelete',
    'job list': 'jobs:JobList',
    'job show': 'jobs:JobShow',
    'job output': 'jobs:JobOutput',
    'job runs': 'jobs:JobRuns',
    'job watch': 'jobs:JobWatch',
    'job cancel': 'jobs:JobCancel',
    'node list': 'nodes:NodeList',
    'node show': 'nodes:NodeShow',
    'node create': 'nodes:NodeCreate',
    'node set': 'nodes:NodeSet',
    'node delete': 'nodes:NodeDelete',
    'node import': 'importing:NodeImport',
    'node events': 'nodes:NodeEvents',
    'power on': 'power:PowerOn',
    'power off': 'power:PowerOff',
    'power cycle': 'power:PowerCycle',
    'power status': 'power:PowerStatus',
    'power soft': 'power:PowerSoft',
    'token issue': 'tokens:TokenIssue',
    'token list': 'tokens:TokenList',
    'token revoke': 'tokens:TokenRevoke',
}


def _short(group):
    """:returns: dict, the commands of a group under their last words."""
    start = f'{group} '
    return {name.removeprefix(start): how for name, how in OBM.items() if name.startswith(start)}


POWER, ESTATE = _short('power'), _short('estate')


class Entry:
    """What cliff's manager keeps of a command.  :param factory: str, ``module:class``."""

    def __init__(self, name, factory):
        self.name = name
        self.value = factory

    def load(self):
        module, _, name = self.value.partition(':')
        return getattr(importlib.import_module(f'obmd.client.cli.{module}'), name)
