"""What lies beside a bundle with a runtime, for hosts that have no airgap yet.

bootstrap.sh  the script that such a host runs
kit           which wheels it gets, and the list of their digests that is signed for
"""

__all__: list[str] = []
"""Import the module that you need."""
