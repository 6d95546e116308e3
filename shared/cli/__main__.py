"""`python -m shared.cli`, with which a supervisor starts its workers."""

from shared.cli import main

main()
