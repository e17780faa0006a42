"""Commands that ask the server once for each node."""

from concurrent import futures

from obmd.client import errors
from obmd.client.cli import base

#: requests at once
TOGETHER = 16


class Each(base.Command):
    def names(self, nodes):
        """:param nodes: str, a range.  :returns: list of str.

        :raises Refused: some of them do not exist.
        """
        if base.is_one(nodes):
            return [nodes]
        return [node['name'] for node in self.client.nodes.list(nodes=nodes)]

    def for_each(self, nodes, call, named=None):
        """Print what ``call(node)`` says of each node, or the error.

        :param call: callable of a str that gives a str.
        :param named: bool, whether a line starts with its node; None: if there are several.
        :returns: int, the exit status.
        """
        named = len(nodes) > 1 if named is None else named
        failed = False
        with futures.ThreadPoolExecutor(TOGETHER) as pool:
            waiting = {pool.submit(call, node): node for node in nodes}
            try:
                for done in futures.as_completed(waiting):
                    failed |= not self._tell(waiting[done], done, named)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return 1 if failed else 0

    def _tell(self, node, done, named):
        """:returns: bool, whether it went well."""
        try:
            text = base.printable(done.result())
        except errors.ClientError as error:
            reason = getattr(error, 'reason', error)
            self.app.LOG.error('%s: %s', node, reason)
            return False
        self.say(f'{base.printable(node)}: {text}' if named else text)
        return True
