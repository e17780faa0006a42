"""One HTTP session with obmd: credentials, TLS, time limits, and which requests may be repeated.

Only reads are ever repeated, and only after 503: whoever repeats a power-off has to know what the
first one did.
"""

import contextlib
import ipaddress
import re
import time
import urllib.parse
from importlib import metadata

import requests
import requests.adapters
from urllib3 import exceptions as below

from obmd.client import errors

#: seconds until a connection must stand
CONNECT_TIMEOUT = 10.0
#: seconds without a byte of an answer; a power call may take as long as its BMC does
TIMEOUT = 60.0
#: seconds for which a read is repeated while the server says that it cannot now
PATIENCE = 30.0
#: seconds between two tries when the server does not say, and the longest that it may say
PAUSE, LONGEST_PAUSE = 1.0, 10.0
#: bytes that are taken from a stream at once
CHUNK = 65536
_CONNECTIONS = 64

_JWT = re.compile(r'[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+')
_MOST_REDIRECTS = 3
_DOUBT = '; whether the request was carried out is not known'
#: characters of an answer that is not obmd's that a message quotes
_QUOTED = 200


def version():
    """:returns: str, of obmd as installed."""
    try:
        return metadata.version('obmd')
    except metadata.PackageNotFoundError:
        return '0'


class _Credentials(requests.auth.AuthBase):
    """Bearer for a JWT, else the admin's token by HTTP Basic.

    Always given, also without a token: requests would look into ``~/.netrc`` otherwise.
    """

    def __init__(self, token):
        self._basic = self._bearer = None
        if token and _JWT.fullmatch(token):
            self._bearer = token
        elif token:
            self._basic = requests.auth.HTTPBasicAuth('admin', token)

    def __call__(self, request):
        if self._bearer:
            request.headers['Authorization'] = f'Bearer {self._bearer}'
        elif self._basic:
            self._basic(request)
        return request


class Transport:
    """:param url: str, where obmd is, ``https://obmd.example.com``.
    :param token: str, a JWT or the admin's token, or None.
    :param ca_file: str, PEM certificates that the server's is checked with; None: the system's.
    :param insecure: bool, take any certificate, and send a token without TLS to other machines.
    :param timeout: float seconds without a byte of an answer.
    :param patience: float seconds for which a read is repeated after 503.
    :param adapter: of requests, in place of the network.
    :param clock: callable that gives float seconds; :param sleep: callable that takes seconds.
    :raises SettingsError: the URL or the token cannot be one.
    """

    def __init__(
        self,
        url,
        token=None,
        ca_file=None,
        insecure=False,
        timeout=TIMEOUT,
        patience=PATIENCE,
        adapter=None,
        clock=time.monotonic,
        sleep=time.sleep,
    ):
        self.url = _check_url(url, bool(token), insecure)
        self.clock = clock
        self.sleep = sleep
        self.timeout = timeout
        self._patience = patience
        # given with each request: an environment's REQUESTS_CA_BUNDLE wins over a session's
        self._verify = False if insecure else ca_file or True
        self._auth = _Credentials(_check_token(token))
        self._session = requests.Session()
        self._session.max_redirects = _MOST_REDIRECTS
        self._session.headers['User-Agent'] = f'obm/{version()}'
        adapter = adapter or requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS)
        self._session.mount('http://', adapter)
        self._session.mount('https://', adapter)

    def __repr__(self):
        return f'<Transport {self.url}>'

    def close(self):
        self._session.close()

    def read(self, path, **parameters):
        """``GET`` of JSON, repeated after 503 while patience lasts.

        :param path: str below ``/api/v1``.  :param parameters: of the query; None is left out.
        :returns: what the answer says.
        """
        with self._patient(path, parameters) as answer:
            return _json(answer)

    def read_bytes(self, path, **parameters):
        """``GET`` of bytes.  :returns: iterator of bytes, as they come."""
        with self._patient(path, parameters, stream=True) as answer:
            yield from chunks(answer)

    def write(self, method, path, value=None):
        """Sent once, whatever comes of it.

        :param value: what the body says.  :returns: what the answer says, None if it is empty.
        """
        with self._send(method, path, json={} if value is None else value) as answer:
            return _json(answer) if answer.content.strip() else None

    def stream(self, path, headers=None, timeout=None, **parameters):
        """``GET`` of an answer that goes on, asked for once.

        :param timeout: float seconds without a byte.
        :returns: requests.Response, to be closed; its bytes by :func:`chunks`.
        """
        return self._send('GET', path, parameters, stream=True, headers=headers, timeout=timeout)

    def _patient(self, path, parameters, stream=False):
        until = self.clock() + self._patience
        while True:
            try:
                return self._send('GET', path, parameters, stream=stream)
            except errors.Refused as refusal:
                pause = pause_after(refusal)
                if refusal.status != 503 or self.clock() + pause > until:
                    raise
                self.sleep(pause)

    def _send(self, method, path, parameters=None, headers=None, timeout=None, **options):
        is_read = method == 'GET'
        if options.get('stream'):
            headers = {'Accept-Encoding': 'identity', **(headers or {})}
        try:
            with _explained(self.url, is_read):
                answer = self._session.request(
                    method,
                    f'{self.url}/api/v1{path}',
                    params={k: v for k, v in (parameters or {}).items() if v is not None},
                    headers=headers,
                    auth=self._auth,
                    timeout=(CONNECT_TIMEOUT, timeout or self.timeout),
                    verify=self._verify,
                    allow_redirects=is_read,
                    **options,
                )
        except ValueError as error:
            raise errors.SettingsError(f'the request cannot be sent: {error}') from None
        if answer.status_code >= 300:
            with answer, _explained(self.url, is_read):
                raise _refusal(answer)
        return answer


def chunks(answer):
    """:param answer: requests.Response of a stream.  :returns: iterator of bytes, as they come.

    :raises Unreachable: the connection broke off.
    """
    with _explained(answer.url, is_read=True):
        while chunk := answer.raw.read1(CHUNK):
            yield chunk


def pause_after(refusal):
    """:returns: float, the seconds to wait before a new try."""
    return min(max(refusal.retry_after or PAUSE, PAUSE), LONGEST_PAUSE)


def segment(text):
    """:returns: str, ``text`` as one segment of a path.

    :raises ClientError: no path can have it (RFC 3986, 5.2.4); a node has its uuid besides.
    """
    if text in ('', '.', '..'):
        raise errors.ClientError(f'{text!r} cannot be asked for by that name')
    return urllib.parse.quote(str(text), safe='')


def _check_url(url, has_token, insecure):
    parts = urllib.parse.urlsplit(url or '')
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if parts.scheme not in ('http', 'https') or not host or parts.query or parts.fragment:
        raise errors.SettingsError(f'{url!r} is not a URL such as https://obmd.example.com')
    if parts.username is not None or parts.password is not None:
        raise errors.SettingsError('credentials do not belong into the URL; use a token file')
    if parts.scheme == 'http' and has_token and not insecure and not _is_here(host):
        raise errors.SettingsError(
            f'{url} is not https: the token would cross the network in clear; '
            'say "insecure" if that is meant'
        )
    return url.rstrip('/')


def _is_here(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def _check_token(token):
    if token is not None and not re.fullmatch(r'[\x21-\x7e]+', token):
        raise errors.SettingsError('the token is empty or has characters that no token has')
    return token


@contextlib.contextmanager
def _explained(url, is_read):
    """Errors of requests and of what is below it become ours, on one line."""
    doubt = '' if is_read else _DOUBT
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise errors.Unreachable(f'{url}: TLS: {_cause(error)}') from None
    except (requests.exceptions.ConnectTimeout, below.ConnectTimeoutError):
        raise errors.Unreachable(f'{url}: no connection within {CONNECT_TIMEOUT:g} s') from None
    except (requests.exceptions.Timeout, below.TimeoutError):
        raise errors.Unreachable(f'{url}: no answer in time{doubt}') from None
    except (requests.exceptions.ProxyError, requests.exceptions.ConnectionError) as error:
        cause = _cause(error)
        refused = 'refused' in cause or 'resolution' in cause or 'resolve' in cause
        raise errors.Unreachable(f'{url}: {cause}{"" if refused else doubt}') from None
    except (below.HTTPError, requests.exceptions.RequestException, OSError) as error:
        raise errors.Unreachable(f'{url}: {_cause(error)}{doubt}') from None


def _cause(error):
    """:returns: str, what lies at the bottom of an error of requests."""
    while True:
        below = getattr(error, 'reason', None)
        if not isinstance(below, BaseException):
            below = next((a for a in error.args if isinstance(a, BaseException)), None)
        if below is None:
            break
        error = below
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    # urllib3 puts the connection in front, and the error's number
    text = re.sub(r'^.*\[Errno -?[0-9]+\] ', '', ' '.join(str(error).split()))
    return text or type(error).__name__


def _json(answer):
    try:
        return answer.json()
    except ValueError:
        raise errors.BadAnswer(f'{answer.url}: the answer is not JSON: {_quote(answer)}') from None


def _quote(answer):
    return repr(answer.text[:_QUOTED])


def _refusal(answer):
    """:returns: ClientError, what a status of 300 and more says."""
    if answer.is_redirect:
        where = answer.headers.get('Location')
        return errors.BadAnswer(f'{answer.url}: the server is elsewhere, at {where}')
    retry_after = answer.headers.get('Retry-After', '')
    retry_after = float(retry_after) if re.fullmatch(r'[0-9]{1,6}', retry_after) else None
    try:
        error = answer.json()['error']
        return errors.Refused(
            answer.status_code,
            str(error['kind']),
            str(error['reason']),
            error.get('node'),
            retry_after,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if answer.status_code in (502, 503, 504):
        reason = f'HTTP {answer.status_code} from what stands in front of obmd'
        if answer.status_code != 503 and answer.request.method != 'GET':
            reason += _DOUBT
        return errors.Refused(answer.status_code, 'unavailable', reason, None, retry_after)
    return errors.BadAnswer(
        f'{answer.url}: HTTP {answer.status_code}, not as obmd answers: {_quote(answer)}'
    )
