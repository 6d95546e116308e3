"""Packages that other libraries import if they are installed, and that nothing here uses: a worker starts without them.

| package | who imports it | for | seconds of a processor |
|---|---|---|---|
| scipy | diffusers, transformers | beta schedules, losses of object detection | 0.5 of 3.9 |
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

UNUSED = ("scipy",)  # by the embedded base model; a scheduler of another one may ask for it


@contextmanager
def leave_out(packages: Sequence[str]) -> Iterator[None]:
    """Inside the block, packages of these names cannot be found, except those that are imported already."""
    hidden = [name for name in packages if name not in sys.modules]
    # with None there, `import` fails and `find_spec` finds nothing
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
