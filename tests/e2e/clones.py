#!/usr/bin/python3
"""Clones of templates in real microVMs: that a task's is one, that it is a microVM of its own, and that nothing else changes."""
import time
import unittest

from case import OneFleet, wait_until
from daemon_logs import log_text  # noqa: F401
