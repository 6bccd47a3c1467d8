"""
The commands, one module each, which ``main`` registers. ``store_options`` are what those have in common that read a
store; ``ask_processor`` asks a running one for its verdict; ``log`` is where those that run for long say what happens.

Exit codes: 0 for success; what a command decides has its own small codes; every error of usage or environment is 64
or above (sysexits.h), tracebacks included, so that a script can tell a verdict from an accident.
"""
