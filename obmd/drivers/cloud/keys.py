"""What reaches an instance stands among a node's parameters, under the names that scripts know.

It is no secret, so it stays a parameter too.
"""

import re

from obmd.common import errors


def take(names, parameters):
    """As :meth:`obmd.drivers.base.Driver.from_parameters`.

    :param names: tuple of str, the parameters that are the driver's.
    """
    info = {name: parameters[name] for name in names if name in parameters}
    if not info:
        return None
    for name, value in info.items():
        if not isinstance(value, str):
            raise errors.InvalidInput(f'{name} must be text: put it in quotes')
    return info, parameters


def missing(name, node):
    """:returns: BmcRefused, as OpenFlight's helpers say it."""
    return errors.BmcRefused(f"The {name} for node '{node}' has not been set!", node)


def check(schema, info):
    """The names as a whole: a pattern of a schema lets a newline at the end pass.

    :returns: ``info``.  :raises InvalidInput: naming the field.
    """
    for name, value in info.items():
        if re.fullmatch(schema['properties'][name]['pattern'], value) is None:
            raise errors.InvalidInput(f'{name}: not of the form that the cloud has')
    return info
