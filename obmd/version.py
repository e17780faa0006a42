"""The version of obmd, as installed."""

from importlib import metadata

try:
    VERSION = metadata.version('obmd')
except metadata.PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = '0'
