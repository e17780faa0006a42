"""Questions before what cannot be undone."""

from obmd.client import errors
from obmd.client.cli import base

#: characters of a list of nodes that a question shows
LONGEST = 400
#: nodes that are folded: for thousands with two numbers in their names that takes minutes
FOLDED = 200


def confirm(app, question):
    """Ask at the terminal, until the answer is yes or no.

    :param app: with ``stdin`` and ``stderr``.  :param question: str.
    :raises Declined: the answer is no.  :raises ClientError: there is nobody to ask.
    """
    if not app.stdin.isatty():
        raise errors.ClientError(f'{question} There is no terminal to ask at: say --yes')
    while True:
        app.stderr.write(f'{base.printable(question)} ')
        app.stderr.flush()
        answer = app.stdin.readline()
        word = answer.strip().lower()
        if word in ('y', 'yes'):
            return
        if not answer or word in ('n', 'no'):
            raise base.Declined('nothing was done')


def about(text, nodes, given):
    """:param text: str with ``%{nodes}``.  :param nodes: list of str.

    :param given: str, how the user said them, or None.  :returns: str.
    """
    named = ','.join(nodes) if len(nodes) == 1 else f'{_named(nodes, given)} ({len(nodes)} nodes)'
    return ' '.join(text.replace('%{nodes}', named if nodes else '').split())


def _named(nodes, given):
    text = _fold(nodes) if len(nodes) <= FOLDED else given or ','.join(nodes[:FOLDED])
    return text if len(text) <= LONGEST else f'{text[:LONGEST]}...'


def _fold(nodes):
    if all(base.is_one(node) for node in nodes):
        from ClusterShell import NodeSet

        try:
            return str(NodeSet.NodeSet.fromlist(nodes, resolver=NodeSet.RESOLVER_NOGROUP))
        except Exception:
            # its parser lets more than its own errors out; names that it cannot read stay
            pass
    return ','.join(nodes)
