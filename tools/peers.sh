#!/usr/bin/env bash
# The real peers that the tests talk to: Debian packages, installed when they are missing and we may.
set -u
missing=()
for pair in storescu:dcmtk promtool:prometheus Orthanc:orthanc dciodvfy:dicom3tools xz:xz-utils; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
done
ls /usr/lib/orthanc/libOrthancDicomWeb.so* >/dev/null 2>&1 || missing+=(orthanc-dicomweb)
command -v chromium >/dev/null 2>&1 || missing+=(chromium)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
ldconfig -p 2>/dev/null | grep -q libEGL_mesa || missing+=(libegl1 libegl-mesa0)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "peers: installing ${missing[*]}"
  # RUNLEVEL=1: the packages' own services stay stopped; the tests start private ones.
  export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null && exit 0
fi
echo "peers: tests that need them are skipped: apt-get install ${missing[*]}"
