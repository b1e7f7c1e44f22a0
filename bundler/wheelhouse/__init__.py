"""The wheels of a runtime: what the isolated host installs, resolved and pinned on this side.

- `targets`: for which Python and platform
- `wanted`: the profile's key `runtime`
- `locked`: the lock's key `runtime`
- `resolving`: which releases a target needs, by uv
- `pinning`: profile -> the lock's part, with sizes and licences
- `sdists`: an sdist that was chosen -> how it is built, and the wheel that comes of it
- `recipe`: the lock's key `built` of a release: from what, and by what
- `from_source`: a source of bytes that builds them
- `build_child`: the process in which a stranger's program runs
- `pure`: what it left -> the wheel that may travel
- `packing`: files -> the bytes of a wheel
- `names`: names of wheels and sdists, and of the releases that they are of
- `metadata`: what a wheel says about itself
- `own`: the wheel of this very project
- `programs`: what the build adds to the tree: that wheel, and the requirements of each target
- `complete`: whether a target has everything that its wheels ask for
- `installed`: how much disk they take on the host
- `cuda`: which CUDA they are built for
- `overlaps`: whether two of its wheels install different files under one path
"""
