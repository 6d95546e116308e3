"""Tells errors of GPUs and of the libraries that compute on them from errors in a request."""

from shared.devices.failures import device_errors, failure
from shared.devices.memory import once_more_with_less

__all__ = ["device_errors", "failure", "once_more_with_less"]
