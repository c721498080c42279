#!/usr/bin/env bash
# Installs the programs that tests and the build call, where they are missing. Debian and its kin, by name.
set -euo pipefail

tests="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# program:package
tools=(
    "cc:build-essential"
    "git:git"
    "mosquitto:mosquitto"
    "mosquitto_pub:mosquitto-clients"
    "faketime:faketime"
    "unshare:util-linux"
    "setpriv:util-linux"
    "systemd-analyze:systemd"
    "mount:mount"
    "mkfs.ext4:e2fsprogs"
    "strace:strace"
    "curl:curl"
    "openssl:openssl"
    "certutil:libnss3-tools"
    "softhsm2-util:softhsm2"
    "chromium:chromium"
    "node:nodejs"
    "npm:npm"
    "python3:python3"
    "pip3:python3-pip"
)

PAHO=2.1.0

# Debian keeps daemons where only root's PATH looks.
PATH="$PATH:/usr/sbin:/sbin"

# What drives Chromium in the tests of the screen, as its lock file says. It brings no browser of its own.
browser_driver() {
    cd "$tests/screen"
    if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
        npm ci --ignore-scripts --no-audit --no-fund </dev/null
    fi
}

# For docs/shop.py and docs/delivery.py. Where the tests look, and nowhere else.
python_packages() {
    local folder="$tests/python"
    if [[ ! -d "$folder/paho_mqtt-$PAHO.dist-info" ]]; then
        pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target "$folder" "paho-mqtt==$PAHO" </dev/null
    fi
}

missing=()
for tool in "${tools[@]}"; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
if ((${#missing[@]} == 0)); then
    echo "every tool is installed"
    browser_driver
    python_packages
    exit 0
fi
echo "installing ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "no apt-get here: install ${missing[*]} by hand" >&2
    exit 1
fi

sudo=()
if ((EUID != 0)); then
    sudo=(sudo --non-interactive)
fi
apt() {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null
}
apt update
apt install -y --no-install-recommends "${missing[@]}"
browser_driver
python_packages
