"""`python -m transfer`, the same as `transfer`."""

from transfer.cli import entry

if __name__ == "__main__":
    entry()
