"""`airgap doctor`: what would fail at start, found before start, each with the fix.

Facts are gathered first, then judged: a rule is a function of facts, and touches nothing.

facts         what is known about a host, and about a bundle on it
checks        the table of all checks, and how it is gone through
trust room surroundings libraries hardware bundles
              the rules, by family
host          gathers a host's facts
  network       routes, resolvers
  memory        of the machine and of its control group
  probe         what only a process of its own may ask: the engine, the driver, the guard
mounted, offered
              gather a bundle's facts
"""

__all__: list[str] = []
"""Import the module that you need."""
