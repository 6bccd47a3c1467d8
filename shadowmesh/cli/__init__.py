"""
The commands, one module each.

Exit codes: 0 for success; what a command decides has its own small codes; every error of usage or environment is 64
or above (sysexits.h), tracebacks included, so that a script can tell a verdict from an accident.
"""
