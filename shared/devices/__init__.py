"""What cards and the libraries that compute on them do wrong, told apart from what is wrong with a request."""

from shared.devices.failures import device_errors, failure
from shared.devices.memory import once_more_with_less

__all__ = ["device_errors", "failure", "once_more_with_less"]
