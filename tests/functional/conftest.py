"""Functional tests run like the services do: on a monkey-patched process."""

import warnings

warnings.filterwarnings('ignore', module='eventlet')

import eventlet  # noqa: E402

eventlet.monkey_patch()
