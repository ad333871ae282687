"""Fuzzing of the command line: mutated real files and arguments to every command, many cases in one worker process."""
