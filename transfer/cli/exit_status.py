"""Exit statuses of the commands; an interrupted one ends with `transfer.system.signals.INTERRUPTED`."""

DONE = 0
# A check failed: of a store, or of an exported file.
FAILED = 1
# Wrong usage or input, or what the machine does not allow: one line says what.
USAGE = 2
# A part could not be done: what was done is kept, and a line says which part and why.
INCOMPLETE = 2
SKIPPED = 3
