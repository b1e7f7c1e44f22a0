"""A read-only hub over what is mounted, for other machines inside the site.

limits        every bound on what a client may make the mirror hold or wait for
snapshot      one state of a repository, in the hub's own words
catalogue     manifests -> every path that there is, and what it answers
intact        files whose bytes were compared with the manifest, and have not changed since
request       the head of a request, read strictly
preconditions which bytes of a file are asked for, and whether they are still wanted
answering     a request -> an answer, from the catalogue alone
connection    one client: reads heads, writes answers, by sendfile where it can
running       connections, signals, and what another mount does to it
"""

__all__: list[str] = []
