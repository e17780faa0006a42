"""A crowd of viewers and callers in a process of its own, beside whoever measures."""

import multiprocessing

from bench import clients

#: seconds until all are connected
_CONNECT = 60.0


class Crowd:
    """There for as long as the ``with`` lasts.

    :param address: of obmd.
    :param viewers, callers: lists of bytes, requests.
    :param expected: set of int, statuses that the callers must get.
    """

    def __init__(self, address, viewers, callers, expected=frozenset((200,))):
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, address, viewers, callers, expected), daemon=True
        )

    def __enter__(self):
        self._process.start()
        if not self._pipe.poll(_CONNECT) or self._pipe.recv() != 'here':
            self.__exit__()
            raise RuntimeError('the crowd could not be gathered')
        return self

    def __exit__(self, *exc_info):
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(10)

    def ask(self):
        """:returns: dict ``viewers`` (that follow a stream), ``bytes`` seen by them, ``answers``
        that the callers had so far."""
        self._pipe.send('tell')
        if not self._pipe.poll(clients.PATIENCE):
            raise RuntimeError('the crowd is gone')
        return self._pipe.recv()


def _run(pipe, address, viewers, callers, expected):
    with clients.Loop() as loop:
        watching = [loop.add(clients.Viewer(address, data)) for data in viewers]
        loop.run(_CONNECT, lambda: all(v.headers for v in watching))
        asking = [loop.add(clients.Caller(address, data, expected)) for data in callers]
        pipe.send('here')
        while True:
            if loop.run(clients.PATIENCE, pipe.poll):
                pipe.recv()
                pipe.send(
                    {
                        'viewers': sum(v.headers is not None and not v.ended for v in watching),
                        'bytes': sum(v.bytes for v in watching),
                        'answers': sum(len(c.times) for c in asking),
                    }
                )
