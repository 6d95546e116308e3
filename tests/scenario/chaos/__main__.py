"""`python -m tests.scenario.chaos`: a campaign, as the command's words say."""

import sys

from tests.scenario.chaos.campaign import main

if __name__ == "__main__":
    sys.exit(main())
