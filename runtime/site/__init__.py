"""The site's own object store or registry: bundles pushed to it, and pulled from it.

address          s3://… or oci://… as typed
holding          what a store holds of one bundle, and how it is asked
bucket, upload   an object store; one object into it, in parts that are kept
registry         one exchange with a registry, with its credentials
artifact         the manifest of an OCI artifact: bytes <-> Artifact
blobs            one blob into a repository, in pieces
repository       bundles as artifacts in a repository
reaching         an address -> the store behind it
push             a bundle and its papers -> a store
pull             a store -> a folder, that gets its name when all of it was verified
taken            which files of a store are taken, and which papers were signed for
newest           which bundle of a bucket a server should mount

What a store says is believed in nothing but sizes and names, and those within bounds. These are
the only modules of the isolated side that open a connection, before a process leaves the
network.
"""
