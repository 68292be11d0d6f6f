"""The machine: cores, threads, memory."""
