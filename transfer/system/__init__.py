"""The machine and the process: hardware, time, signals, files, text and errors."""
