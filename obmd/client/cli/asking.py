"""Questions before what cannot be undone."""

from obmd.client import errors
from obmd.client.cli import base

#: characters of a list of nodes that a question shows
LONGEST = 400


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


def about(text, nodes):
    """:param text: str with ``%{nodes}``.  :param nodes: list of str.  :returns: str."""
    return ' '.join(text.replace('%{nodes}', folded(nodes)).split())


def folded(nodes):
    """:returns: str, ``n[1-3],x (4 nodes)``, cut where it is too long."""
    text = _fold(nodes)
    if len(text) > LONGEST:
        text = text[:LONGEST] + '...'
    return f'{text} ({len(nodes)} nodes)' if len(nodes) > 1 else text


def _fold(nodes):
    if len(nodes) > 1 and all(base.is_one(node) for node in nodes):
        from ClusterShell import NodeSet

        try:
            found = NodeSet.NodeSet.fromlist(nodes, resolver=NodeSet.RESOLVER_NOGROUP)
            return str(found)
        except Exception:
            # its parser lets more than its own errors out; a name that it cannot read stays
            pass
    return ','.join(nodes)
