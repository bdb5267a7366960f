"""`python -m inglenook.cli`: the command `inglenook` of this interpreter."""

from inglenook.cli.main import main

main()
