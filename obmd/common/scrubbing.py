"""Keeping secrets out of what is logged.

The first net is not to log them.  This is the second: it masks what looks like a token, a Basic
credential or a password in a text that is already made.
"""

import logging
import re

from oslo_utils import strutils

_MASK = '***'

_TOKEN = re.compile(r'(?i)((?:admin_)?token["\']?\s*[=:]\s*["\']?)[^&\s"\',;)}\]]+')
#: RFC 7617 (Basic) and RFC 6750 (Bearer)
_AUTHORIZATION = re.compile(r'(?i)\b(basic|bearer)(\s+)[a-z0-9+/=._~-]{8,}')
#: user:password@ in a URL
_USERINFO = re.compile(r'([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@]*:)[^\s/]*(@)')
#: a ticket is as good as a token for its seconds
_TICKET = re.compile(r'(/stream/)[^\s/?"\']+')


def scrub(text):
    """:param text: str.  :returns: str, with credentials replaced by ``***``."""
    text = _TOKEN.sub(rf'\1{_MASK}', text)
    text = _AUTHORIZATION.sub(rf'\1\2{_MASK}', text)
    text = _USERINFO.sub(rf'\1{_MASK}\2', text)
    text = _TICKET.sub(rf'\1{_MASK}', text)
    return strutils.mask_password(text)


class Scrub(logging.Filter):
    """Put on each handler: masks the message and the traceback of every record."""

    _formatter = logging.Formatter()

    def filter(self, record):
        try:
            record.msg = scrub(record.getMessage())
        except Exception:
            # a record with the wrong arguments: the handler says so, without their values
            record.msg = f'a message that cannot be formatted: {record.msg!r:.80}'
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = scrub(record.exc_text)
        return True
