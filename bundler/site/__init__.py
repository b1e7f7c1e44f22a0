"""The isolated site, as it tells about itself before anything is built for it.

survey.sh     the script that a person reads and runs there
page          what it wrote, parsed
rules         what would fail there
"""

__all__: list[str] = []
"""Import the module that you need."""
