"""`python -m airgap`: the same command where no script was installed."""

from airgap.cli import main

main()
