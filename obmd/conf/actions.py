"""[actions]"""

from oslo_config import cfg

OPTIONS = [
    cfg.ListOpt(
        'command_dirs',
        default=['/etc/obmd/commands'],
        help='Folders of commands, searched in order: the first that has a command of a name '
        'gives it. Each command is a folder with metadata.yaml and its scripts. API and '
        'conductors need the same ones. Whoever may write there runs what he likes on the '
        'conductors.',
    ),
    cfg.StrOpt(
        'jwt_secret_file',
        help='File (0600) with the key that signs the tokens of the Action door; whoever reads it '
        'can make tokens for everything. Empty: jwt.secret in state_path, which only the '
        'all-in-one makes by itself.',
    ),
    cfg.BoolOpt(
        'allow_unscoped_tokens',
        default=True,
        help='Accept tokens signed with that key that were not issued by obmd, as those of '
        'OpenFlight Action. They may do everything at the Action door, and cannot be revoked.',
    ),
    cfg.StrOpt(
        'user',
        help='User that scripts run as. obmd must run as root, or with CAP_SETUID and '
        'CAP_SETGID, to change to it. Empty: the user of the service, who can read its keys; '
        'obmd-conductor then refuses to run scripts unless allow_same_user is set.',
    ),
    cfg.BoolOpt(
        'allow_same_user',
        default=False,
        help='Let obmd-conductor run scripts as its own user: each script can then read the '
        'private key and with it every BMC password. The all-in-one does it with a warning.',
    ),
    cfg.IntOpt(
        'max_jobs',
        default=64,
        min=1,
        max=4096,
        help='Runs (a command on one node) at once on one conductor, over all jobs.',
    ),
    cfg.IntOpt(
        'job_limit',
        default=16,
        min=1,
        max=4096,
        help='Runs at once of one job, over all conductors, unless the job asks for another '
        'number.',
    ),
    cfg.FloatOpt(
        'job_timeout',
        default=3600.0,
        min=1,
        help='Seconds that one run may take, unless the job asks for fewer; then it is killed '
        'with everything that it has started, and its status is 124.',
    ),
    cfg.IntOpt(
        'output_limit',
        default=1024 * 1024 * 1024,
        min=65536,
        help='Bytes of output that one job may write on one conductor. A run that writes more is '
        'killed, and its status is 125.',
    ),
    cfg.FloatOpt(
        'keep',
        default=86400.0,
        min=60,
        help='Seconds after its end at which a job and its output are deleted.',
    ),
    cfg.IntOpt(
        'max_open_jobs',
        default=1000,
        min=1,
        help='Jobs that have not ended at once; the next is answered 503.',
    ),
    cfg.FloatOpt(
        'stream_timeout',
        default=60.0,
        min=0,
        help='Seconds of silence after which clients of streams at the Action door give up and ask '
        'again: 60 for flight-action. A silent stream sends something that they do not see in '
        'time, and one that was left after such a silence goes on where it was. 0: neither.',
    ),
]
