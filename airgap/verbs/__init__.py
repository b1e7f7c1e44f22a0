"""The verbs that both sides have, one a file: verify, inspect, sign, keygen, trust.

Each `register` adds its verb to the command. What a verb needs is imported when it runs.
"""

__all__: list[str] = []
