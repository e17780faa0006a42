"""What the user says in a file: YAML, of which JSON is a part."""

import yaml

from obmd.client import errors

#: characters that a file may have: 20,000 nodes with 3 KiB each
LARGEST = 64 * 1024 * 1024


def read(path, stdin):
    """:param path: str; ``-`` is ``stdin``.  :returns: dict.  :raises ClientError: never quoting
    the file, which may hold a password."""
    try:
        if path == '-':
            text = stdin.read(LARGEST + 1)
        else:
            with open(path, encoding='utf-8') as file:
                text = file.read(LARGEST + 1)
    except OSError as error:
        raise errors.ClientError(f'{path}: {error.strerror}') from None
    except UnicodeError:
        raise errors.ClientError(f'{path} is not text') from None
    if len(text) > LARGEST:
        raise errors.ClientError(f'{path} is too large')
    try:
        # in C where it is there: ten times faster
        said = yaml.load(text, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f', line {mark.line + 1}' if mark else ''
        raise errors.ClientError(f'{path}{where}: this is not YAML') from None
    if not isinstance(said, dict):
        raise errors.ClientError(f'{path}: names and values are expected')
    return said
