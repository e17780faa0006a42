"""Where the lines of a job go while it runs: a pipe, or a terminal with a bar under them."""

import codecs
import time

from obmd.client.cli import base

#: nodes that are named while they run
NAMED = 8
#: times a second that the bar is drawn
RATE = 4


class Plain:
    """Output as it is, nothing else.

    :param stdout, stderr: text streams over binary ones.
    """

    def __init__(self, stdout, stderr):
        self._streams = {'stdout': stdout, 'stderr': stderr}
        self._is_terminal = {name: one.isatty() for name, one in self._streams.items()}
        # a character may come in two parts
        decoder = codecs.getincrementaldecoder('utf-8')
        self._decoders = {name: decoder('replace') for name in self._streams}

    def write(self, stream, data):
        """:param stream: ``stdout`` or ``stderr``.  :param data: bytes."""
        to = self._streams[stream]
        if self._is_terminal[stream]:
            data = self._text(stream, data).encode(to.encoding or 'utf-8', 'replace')
        to.flush()
        to.buffer.write(data)
        to.buffer.flush()

    def _text(self, stream, data):
        """:returns: str, for a terminal."""
        lines = self._decoders[stream].decode(data).split('\n')
        return '\n'.join(base.for_terminal(line.removesuffix('\r')) for line in lines)

    def start(self, title, total):
        pass

    def begun(self, position, node):
        pass

    def ended(self, position, failed):
        pass

    def stop(self):
        pass


class Bar(Plain):
    """A bar, and the nodes that run, on stderr, which is a terminal."""

    def __init__(self, stdout, stderr, clock=time.monotonic):
        super().__init__(stdout, stderr)
        from rich import console
        from rich import progress
        from rich import text

        class Since(progress.ProgressColumn):
            """How long a run has run, also while it was not named."""

            def render(self, task):
                seconds = int(clock() - task.fields['since'])
                return text.Text(f'{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}')

        self._clock = clock
        self._console = console.Console(file=stderr, highlight=False, markup=False, emoji=False)
        self._progress = progress.Progress(
            progress.TextColumn('{task.description}', markup=False),
            progress.BarColumn(bar_width=30),
            progress.TextColumn('{task.fields[count]}', markup=False),
            Since(),
            console=self._console,
            refresh_per_second=RATE,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._all = None
        self._running = {}
        self._waiting = {}
        self._total = self._done = self._failed = 0

    def start(self, title, total):
        self._total = total
        self._all = self._progress.add_task(
            base.printable(title), total=total, count='', since=self._clock()
        )
        self._count()
        self._progress.start()

    def begun(self, position, node):
        self._waiting[position] = node, self._clock()
        self._name()

    def ended(self, position, failed):
        self._done += 1
        self._failed += failed
        self._waiting.pop(position, None)
        task = self._running.pop(position, None)
        if task is not None:
            self._progress.remove_task(task)
            self._name()
        self._count()

    def stop(self):
        self._progress.stop()

    def write(self, stream, data):
        if not self._is_terminal[stream]:
            super().write(stream, data)
            return
        # above the bar
        text = self._text(stream, data)
        from rich import text as texts

        self._console.print(
            texts.Text.from_ansi(text.removesuffix('\n')), soft_wrap=True, overflow='ignore'
        )

    def _name(self):
        """Let the bar name runs that no other run keeps out."""
        while self._waiting and len(self._running) < NAMED:
            position = next(iter(self._waiting))
            node, since = self._waiting.pop(position)
            self._running[position] = self._progress.add_task(
                f'  {base.printable(node)}', total=None, count='running', since=since
            )

    def _count(self):
        failed = f', {self._failed} failed' if self._failed else ''
        self._progress.update(
            self._all, completed=self._done, count=f'{self._done}/{self._total}{failed}'
        )


def choose(stdout, stderr, total):
    """:returns: :class:`Plain`, or :class:`Bar` for many runs on a terminal."""
    return Bar(stdout, stderr) if total > 1 and stderr.isatty() else Plain(stdout, stderr)
