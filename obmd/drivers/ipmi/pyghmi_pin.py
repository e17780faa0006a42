"""What of pyghmi's private names the session uses.

A test compares them with the installed pyghmi and fails naming what has changed: then read
pyghmi's ``session.py`` again before the version is raised.
"""

VERSION = '1.6.19'

#: methods of pyghmi's Session that our session replaces: name -> signature
REPLACED = {
    '__new__': '(cls, bmc, userid, password, port=623, kg=None, onlogon=None, privlevel=None, '
    'keepalive=True)',
    '__init__': '(self, bmc, userid, password, port=623, kg=None, onlogon=None, privlevel=None, '
    'keepalive=True)',
    '_initsession': '(self)',
    '_xmit_packet': '(self, retry=True, delay_xmit=None, timeout=None)',
    '_timedout': '(self)',
    '_mark_broken': '(self, error=None)',
    '_req_priv_level': '(self)',
    '_got_channel_auth_cap': '(self, response)',
    '_got_rmcp_response': '(self, data)',
    '_got_rakp2': '(self, data)',
    '_got_rakp4': '(self, data)',
    '_parse_ipmi_payload': '(self, payload)',
    '_relog': '(self)',
    'login': '(self)',
    'logout': '(self, sessionok=True)',
    'onlogon': '(self, parameter)',
}
#: what is called as it is
CALLED = {
    '_get_channel_auth_cap': '(self)',
    '_open_rmcpplus_request': '(self)',
    '_handle_ipmi_packet': '(self, data, sockaddr=None, qent=None)',
    '_send_ipmi_net_payload': '(self, netfn=None, command=None, data=(), code=0, '
    'bridge_request=None, retry=None, delay_xmit=None, timeout=None, rslun=0)',
    'send_payload': '(self, payload=(), payload_type=None, retry=True, delay_xmit=None, '
    'needskeepalive=False, timeout=None)',
}
#: attributes that pyghmi's methods and ours both read or write
READ = (
    'attemptedhash',
    'authtype',
    'currhashlen',
    'currhashlib',
    'ipmicallback',
    'ipmiversion',
    'lastpayload',
    'localsid',
    'logged',
    'logging',
    'nameonly',
    'netpacket',
    'pendingpayloads',
    'privlevel',
    'request_entry',
    'rmcptag',
    'seqlun',
    'sequencenumber',
    'sessioncontext',
    'sessionid',
    'sockaddr',
    'sol_handler',
    'timeout',
)
