"""Signals as at a terminal: what is started in the background ignores SIGINT, and so would all that the tests start."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
