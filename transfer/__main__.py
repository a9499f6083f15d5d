"""`python -m transfer`, the same as `transfer`."""

from transfer.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
