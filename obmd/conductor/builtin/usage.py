"""How built-in commands are called, and what is said when they are called otherwise."""

#: exit status of a command that was not called as its syntax says
STATUS = 2


class Wrong(Exception):
    """:ivar lines: list of str, what to say.  :ivar status: int, the exit status."""

    def __init__(self, lines, status=STATUS):
        super().__init__(lines[0])
        self.lines = lines
        self.status = status


def require_none(name, arguments):
    """:raises Wrong: there are arguments: ``power off node1 node2`` is not two nodes."""
    if arguments:
        raise Wrong([f'{name} takes no argument after the node: {shown(arguments[0])}'])


def shown(argument):
    """:returns: str, as much of an argument as may be printed: 64 printable characters."""
    return ''.join(c if c.isprintable() else '?' for c in argument[:64])
