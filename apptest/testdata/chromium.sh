#!/bin/sh
# Installs Chromium from Debian's packages, for the tests of tag.js in a real browser.
set -eu
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium
chromium --version
