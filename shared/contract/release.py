"""The release of photog, which is also the version of its distribution. What crosses the wire has its own version."""

VERSION = "0.1.0"
