"""Who watches a console: reads a streamed answer as it comes and remembers when."""

import contextlib
import socket
import threading
import time

import requests


class Viewer:
    """Reads ``response`` in the background.

    :param response: requests.Response, of a request with ``stream=True``.
    :ivar data: bytes so far.
    :ivar ended_at: monotonic time of the end, None before.
    :ivar error: why it ended, None for a clean end (terminating chunk).
    """

    def __init__(self, response):
        self.response = response
        self.status = response.status_code
        self.headers = response.headers
        self.data = b''
        self.ended_at = None
        self.error = None
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for chunk in self.response.iter_content(65536):
                with self._changed:
                    self.data += chunk
                    self._changed.notify_all()
        except (requests.RequestException, AttributeError, ValueError, OSError) as error:
            self.error = error
        finally:
            with self._changed:
                self.ended_at = time.monotonic()
                self._changed.notify_all()

    def wait_for(self, text, timeout=20.0, after=0):
        """Wait until ``text`` has come.  :returns: int, the offset behind it."""
        text = text if isinstance(text, bytes) else text.encode()
        with self._changed:
            come = self._changed.wait_for(
                lambda: text in self.data[after:] or self.ended_at, timeout
            )
            position = self.data.find(text, after)
        assert come and position >= 0, f'{text!r} did not come; there was {self.data[-500:]!r}'
        return position + len(text)

    def wait_for_end(self, timeout=15.0):
        """Wait for the end, which must be a clean one.  :returns: monotonic time of it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended_at, timeout), 'it did not end'
        assert self.error is None, f'it broke off: {self.error!r}'
        return self.ended_at

    @property
    def ended(self):
        return self.ended_at is not None

    def close(self):
        """Go away without a word."""
        if not self.ended:
            # the reader sits in the buffered file above this socket, so that cannot be closed
            with contextlib.suppress(OSError, AttributeError):
                self.response.raw._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR)
            with self._changed:
                self._changed.wait_for(lambda: self.ended_at, 5)
        self.response.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
