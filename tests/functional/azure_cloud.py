"""A local server that answers as Azure's Resource Manager and its token service do.

The shapes are those of the REST reference of Microsoft.Compute; what a real one says beside them is
left out.  A change of a machine takes ``slow`` looks until it is done.
"""

import http.server
import json
import re
import ssl
import threading
import urllib.parse

SUBSCRIPTION = '00000000-0000-0000-0000-000000000001'
TENANT = '00000000-0000-0000-0000-000000000002'
_MACHINE = re.compile(
    f'/subscriptions/{SUBSCRIPTION}/resourceGroups/([^/]+)/providers/Microsoft.Compute'
    '/virtualMachines/([^/]+)(/[A-Za-z]+)?'
)
_DONE = {'starting': 'running', 'deallocating': 'deallocated', 'stopping': 'stopped'}


class Machine:
    """:ivar slow: int, looks until a change is done."""

    def __init__(self, name, size):
        self.name = name
        self.size = size
        self.power = 'running'
        self.provisioning = 'Succeeded'
        self.slow = 1
        self.wanted = None
        self._left = 0

    def begin(self, power=None, size=None):
        self._left = self.slow
        if power is not None:
            self.power = power
        if size is not None:
            self.provisioning, self.wanted = 'Updating', size

    def look(self):
        if self._left > 0:
            self._left -= 1
            return
        self.power = _DONE.get(self.power, self.power)
        if self.provisioning == 'Updating':
            self.provisioning, self.size = 'Succeeded', self.wanted

    def view(self):
        statuses = [
            _status(f'ProvisioningState/{self.provisioning.lower()}', 'Provisioning'),
            _status(f'PowerState/{self.power}', f'VM {self.power}'),
        ]
        if self.power is None:
            statuses.pop()
        return {'vmAgent': {'vmAgentVersion': '2.7', 'statuses': []}, 'statuses': statuses}

    def resource(self, group):
        return {
            'name': self.name,
            'id': f'/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers'
            f'/Microsoft.Compute/virtualMachines/{self.name}',
            'type': 'Microsoft.Compute/virtualMachines',
            'location': 'westeurope',
            'properties': {
                'vmId': '9f1c5e1a-6f0e-4c4c-9a5d-0d6f9e5d7c11',
                'hardwareProfile': {'vmSize': self.size},
                'provisioningState': self.provisioning,
            },
        }


def _status(code, shown):
    return {'code': code, 'level': 'Info', 'displayStatus': shown}


class Cloud:
    """:ivar machines: dict of (group, name) to :class:`Machine`.
    :ivar requests: list of (method, path) of what reached the Resource Manager.
    :ivar answer: callable(method, path) that gives (status, headers, body) or None, before all.
    """

    def __init__(self, certificate, key, secret='hush'):
        self.machines = {}
        self.requests = []
        self.secret = secret
        self.tokens = 0
        self.answer = lambda method, path: None
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_args: None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f'https://127.0.0.1:{self._server.server_address[1]}'

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def add(self, name, group='hpc', size='Standard_B2s'):
        self.machines[group, name] = machine = Machine(name, size)
        return machine

    def _handler(self):
        cloud = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_args):
                pass

            def _serve(self):
                length = int(self.headers.get('Content-Length') or 0)
                body = self.rfile.read(length)
                status, headers, answer = cloud.serve(self.command, self.path, self.headers, body)
                data = b'' if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                if answer is not None:
                    self.send_header('Content-Type', 'application/json; charset=utf-8')
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = _serve

        return Handler

    def serve(self, method, target, headers, body):
        path = urllib.parse.unquote(urllib.parse.urlsplit(target).path)
        if path.startswith(f'/{TENANT}/'):
            return self._token_service(path, body)
        self.requests.append((method, path))
        given = self.answer(method, path)
        if given is not None:
            return given
        if headers.get('Authorization') != 'Bearer t0ken':
            return _error(401, 'AuthenticationFailed', 'Authentication failed.')
        found = _MACHINE.fullmatch(path)
        machine = found and self.machines.get((found.group(1), found.group(2)))
        if machine is None:
            return _error(404, 'ResourceNotFound', f'The Resource {path!r} was not found.')
        return self._machine(method, machine, found.group(1), found.group(3), body)

    def _machine(self, method, machine, group, action, body):
        action = (action or '').lower()
        if (method, action) == ('GET', '/instanceview'):
            answer = machine.view()
            machine.look()
            return 200, {}, answer
        if (method, action) == ('GET', ''):
            answer = machine.resource(group)
            machine.look()
            return 200, {}, answer
        later = {'Azure-AsyncOperation': f'{self.url}/operations/1', 'Retry-After': '10'}
        if (method, action) == ('PATCH', ''):
            if machine.power == 'running':
                return _error(409, 'OperationNotAllowed', 'Resizing needs a deallocated machine.')
            machine.begin(size=json.loads(body)['properties']['hardwareProfile']['vmSize'])
            return 200, later, machine.resource(group)
        begun = {'/start': 'starting', '/deallocate': 'deallocating', '/restart': 'running'}
        if method == 'POST' and action in begun:
            if machine.provisioning == 'Updating':
                return _error(409, 'Conflict', 'The machine is being updated.')
            machine.begin(power=begun[action])
            return 202, later, None
        return _error(405, 'MethodNotAllowed', 'no')

    def _token_service(self, path, body):
        root = f'{self.url}/{TENANT}'
        if path.endswith('/.well-known/openid-configuration'):
            return (
                200,
                {},
                {
                    'token_endpoint': f'{root}/oauth2/v2.0/token',
                    'authorization_endpoint': f'{root}/oauth2/v2.0/authorize',
                    'issuer': f'{root}/v2.0',
                },
            )
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if form.get('client_secret') != self.secret:
            told = 'AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1'
            return 401, {}, {'error': 'invalid_client', 'error_description': told}
        self.tokens += 1
        return (
            200,
            {},
            {'token_type': 'Bearer', 'expires_in': 3599, 'access_token': 't0ken'},
        )


def _error(status, code, message):
    return status, {}, {'error': {'code': code, 'message': message}}
