"""What an installation or its settings lack: the one kind of error that starting again does not mend."""


class ConfigurationError(Exception):
    """Something that is asked for cannot be had here; the message says what to install, to get or to set."""


def how_to_install(extra: str) -> str:
    """The command that brings an extra. There is another project called photog on PyPI, so it names this checkout."""
    return f"pip install '.[{extra}]' in photog's checkout"
