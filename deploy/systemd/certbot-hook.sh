#!/bin/sh
# /etc/letsencrypt/renewal-hooks/deploy/hearken
# certbot runs this after each renewal. Only root may read the files of certbot, so hearken gets a copy.
set -eu
[ "${RENEWED_LINEAGE##*/}" = hearken.example.com ] || exit 0    # the certificate of another site
install -m 600 -o hearken "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" /etc/hearken/
systemctl try-reload-or-restart hearken
