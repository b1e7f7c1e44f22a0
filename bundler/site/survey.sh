#!/bin/sh
# What this host is, on one page, for people and for `airgap plan PROFILE --site FILE`.
# Reads, and changes nothing. No root, no network. Read it, then:  sh survey.sh > site.txt
export LC_ALL=C
has() { command -v "$1" >/dev/null 2>&1; }
one() { read -r line <"$1" && echo "$line"; } 2>/dev/null # the first line of a file
row() { printf '%s: %s\n' "$1" "${2:-unknown}"; }

row survey 'airgap 1'
row clock "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
row system "$(uname -s) $(uname -r)"
row distribution "$(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")"
row machine "$(uname -m)"
row user "$(id -u)"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
[ -n "$libc" ] || libc=$(ldd --version 2>&1 | { read -r first && echo "$first"; })
row libc "$libc"
row openssl "$(has openssl && openssl version || echo none)"
for tool in sha256sum tar gzip unshare systemctl; do row "tool $tool" "$(command -v $tool || echo none)"; done

for python in python3 python3.11 python3.12 python3.13 python3.14; do
    found=$($python -I -c 'import sys
try: import venv
except ImportError: venv = None
print("%s %d.%d.%d %s" % (sys.executable, *sys.version_info[:3], "venv" if venv else "no-venv"))' 2>/dev/null) &&
        row python "$found"
done

while read -r key _ value; do
    case $key in flags | Features) row 'processor features' "$value" && break ;; esac
done </proc/cpuinfo
row 'processor cores' "$(nproc)"
while read -r key value _; do
    case $key in MemTotal:) row 'memory total' "$value KiB" ;; MemAvailable:) row 'memory available' "$value KiB" ;; esac
done </proc/meminfo
asked() { has nvidia-smi && nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null; }
gpus=$(asked driver_version,memory.total,name)
[ -z "$gpus" ] || echo "$gpus" | while read -r gpu; do row gpu "$gpu"; done
[ -z "$gpus" ] || asked compute_cap | while read -r gpu; do row 'gpu capability' "$gpu"; done
[ -n "$gpus" ] || row gpu "$([ -r /proc/driver/nvidia/version ] && one /proc/driver/nvidia/version || echo none)"

# Each place that could hold it: free KiB, file system, mount options, path.
for place in /var/lib /opt /srv /tmp "$HOME"; do
    [ -d "$place" ] || continue
    free=$(df -Pk "$place" | { read -r _ && read -r _ _ _ free _ && echo "$free"; })
    point=$(df -Pk "$place" | { read -r _ && read -r _ _ _ _ _ point && echo "$point"; })
    while read -r _ path type options _; do
        [ "$path" = "$point" ] && found="$type $options"
    done </proc/mounts
    writable=$([ -w "$place" ] && echo writable || echo read-only)
    row place "$free KiB, $found, $writable, $place"
done

row selinux "$(case $(one /sys/fs/selinux/enforce) in 1) echo enforcing ;; 0) echo permissive ;; *) echo none ;; esac)"
row fapolicyd "$(has systemctl && systemctl is-active fapolicyd 2>/dev/null || echo inactive)"
row 'user namespaces' "$(one /proc/sys/user/max_user_namespaces)"
row 'user namespaces, unprivileged' "$(one /proc/sys/kernel/unprivileged_userns_clone || echo 1)"
