"""Who may use the doors that are open by default, by rules of oslo.policy.

The rules are built in and let everybody in; a file (``[agent] policy_file``) may say otherwise.  A
file that is not understood ends the start: a rule with a slip in it would leave a door open.
"""

from oslo_config import cfg
from oslo_policy import policy

from obmd.api import auth
from obmd.common import errors
from obmd.conf import CONF

LOOKUP = 'baremetal:driver:ipa_lookup'
HEARTBEAT = 'baremetal:node:ipa_heartbeat'
#: rule -> who may; '' is everybody, '!' nobody, 'role:admin' who has the admin's credentials
RULES = {LOOKUP: '', HEARTBEAT: ''}
_PREFIX = 'baremetal:'


class Policy:
    """:raises Fatal: the file cannot be read, or a rule in it is not understood."""

    def __init__(self, path=None):
        path = CONF.agent.policy_file if path is None else path
        rules = policy.Rules.from_dict(RULES)
        if path:
            rules.update(_read(path))
        self._open = {name for name in RULES if str(rules[name]) == '@'}
        self._enforcer = policy.Enforcer(_no_files(), rules=rules, use_conf=False)
        try:
            self._enforcer.check_rules(raise_on_violation=True)
        except policy.InvalidDefinitionError as error:
            raise errors.Fatal(f'{path}: {error}') from None

    def require(self, rule, request, admin_hash, target):
        """:param rule: one of ``RULES``.  :param target: dict, what the request is about.

        :raises Unauthorized: it is not open to everybody, and there are no good credentials.
        :raises Forbidden: not even with these credentials.
        """
        if rule in self._open:
            return
        try:
            auth.admin(request, admin_hash)
            credentials = {'user_id': auth.USER.decode(), 'roles': ['admin']}
        except errors.Unauthorized as error:
            refusal, credentials = error, {'roles': []}
        else:
            refusal = errors.Forbidden(f'Access was denied by the policy {rule}')
        if not self._enforcer.enforce(rule, target, credentials):
            raise refusal


def _no_files():
    """Options of oslo.policy as they are by themselves: it is not to look for files."""
    conf = cfg.ConfigOpts()
    conf([], project='obmd', default_config_files=[], default_config_dirs=[])
    return conf


def _read(path):
    """:returns: :class:`oslo_policy.policy.Rules` of a file."""
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        given = policy.parse_file_contents(text)
        rules = policy.Rules.from_dict(given)
        unknown = sorted(name for name in given if name.startswith(_PREFIX) and name not in RULES)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise errors.Fatal(f'the policy file {path} cannot be used: {error}') from None
    if unknown:
        raise errors.Fatal(f'{path}: there is no rule {unknown[0]}')
    # oslo.policy makes "nobody" of what it does not understand
    wrong = sorted(k for k, said in given.items() if '!' in str(rules[k]) and '!' not in str(said))
    if wrong:
        raise errors.Fatal(f'{path}: the rule {wrong[0]} is not understood')
    return rules
