"""`python -m shared.cli`, as a supervisor starts its workers."""

from shared.cli import app

app()
