"""What the options of changes mean, by their key: the text, the word for their value, the short flag.

Keys are those of `config/verbs.py`. Where one means something else for some verbs, `VERB KEY` or `GROUP KEY` stands
before it.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Help(NamedTuple):
    """`metavar` is empty for flags and where the key's last word will do."""

    text: str
    metavar: str = ""
    short: str = ""


_SECONDS_0 = "seconds, 0 = no limit"

HELPS: Mapping[str, Help] = {
    # what a change is about
    "id": Help("the cluster's name", "CLUSTER", "-i"),
    "backend-id": Help("the backend's name within its cluster", "ID"),
    "backend add backend-id": Help(
        "the backend's name within its cluster (default: that of the one at this address, or CLUSTER-N-ADDRESS)", "ID"
    ),
    "address": Help("the listener's address", "IP:PORT", "-a"),
    "backend address": Help("where the backend listens", "IP:PORT", "-a"),
    "backend update address": Help("where the backend listens from now on", "IP:PORT", "-a"),
    "backend remove address": Help(
        "where it is believed to be: nothing is removed if it is elsewhere", "IP:PORT", "-a"
    ),
    "frontend tcp remove id": Help("the cluster it is believed to lead to", "CLUSTER", "-i"),
    "frontend udp remove id": Help("the cluster it is believed to lead to", "CLUSTER", "-i"),
    # clusters
    "protocol": Help("http or tcp (default: frontends of both kinds may lead here)", "PROTOCOL"),
    "sticky-session": Help("a cookie keeps a client at its backend", "", "-s"),
    "https-redirect": Help("answer plain HTTP with a redirect to https", "", "-r"),
    "https-redirect-port": Help("the port in that redirect", "PORT"),
    "send-proxy": Help("begin backend connections with a PROXY v2 header (tcp)"),
    "cluster expect-proxy": Help("Sōzu's; here the listener expects it"),
    "load-balancing-policy": Help(
        "round_robin, random, least_loaded or power_of_two; hrw and maglev are not built yet", "POLICY"
    ),
    "load-metric": Help("what they compare: connections, requests or connection_time", "METRIC"),
    "http2": Help("speak HTTP/2 to backends"),
    "max-idle-connections": Help("backend connections kept for reuse, per backend and worker", "N"),
    "idle-timeout": Help("seconds they are kept, 0 = for ever", "S"),
    "tls": Help("speak TLS to its backends; the options below imply it, and replace what was said of it"),
    "tls-server-name": Help("their name, asked for and verified (default: the IP address of each)", "NAME"),
    "tls-ca": Help("PEM file of their authorities (default: the system's); ctl reads it", "FILE"),
    "tls-fingerprint": Help("of their certificate; without --tls-ca it alone is looked at", "SHA256HEX"),
    "tls-certificate": Help("PEM file of a certificate to show to them; ctl reads it", "FILE"),
    "tls-key": Help("PEM file of its key; ctl reads it", "FILE"),
    "tls-verify": Help("verify their certificate, as is the default"),
    "authorized-hash": Help("user:sha256hex of who may log in; may be repeated", "HASH"),
    "www-authenticate": Help("the realm shown to who must log in", "REALM"),
    "answer": Help("an answer of the proxy's own, such as 503=TEMPLATE; may be repeated", "CODE=TEMPLATE"),
    "cluster max-connections": Help("connections to its backends, of all workers, 0 = any number", "N"),
    "max-queue": Help("requests that wait in a worker for a connection where there may be no more", "N"),
    "queue-timeout": Help("seconds they wait, 0 = for ever", "S"),
    "max-requests": Help("requests a second that go to it, of all workers, 0 = any number (http)", "N"),
    "max-requests-burst": Help("of these at once, after a pause, 0 = those of one second", "N"),
    "max-connections-per-ip": Help("connections one client address may have, 0 = any number", "N"),
    "retry-after": Help("seconds in Retry-After of its answers 429, 0 = the field is left out", "S"),
    # health checks
    "uri": Help("what is asked for", "PATH", "-u"),
    "interval": Help("seconds between two checks", "S"),
    "timeout": Help("seconds a check may take", "S"),
    "healthy-threshold": Help("checks in a row that must go well", "N"),
    "unhealthy-threshold": Help("checks in a row that must go wrong", "N"),
    "expected-status": Help("the status that is well, 0 = any 2xx", "CODE"),
    # backends
    "weight": Help("its share, 0 to 255 (default: 100)", "N"),
    "backup": Help("used only when no other backend can be had", "", "-b"),
    "backend max-connections": Help("connections to it, of all workers, 0 = any number", "N"),
    "sticky-id": Help("its value in the sticky cookie", "ID", "-s"),
    "now": Help("cut its sessions"),
    "deadline": Help("cut its sessions after so many seconds (default: let them finish)", "S"),
    "drain": Help("wait for its sessions, telling how many are left, and cut them in the end"),
    "drain-timeout": Help("with --drain: seconds they get, 0 = as long as they need (default: shutdown_timeout)", "S"),
    # frontends
    "hostname": Help("exact, *.suffix, * or with /regex/ labels", "HOST"),
    "path-prefix": Help("paths that begin so", "PATH", "-p"),
    "path-regex": Help("paths that match it as a whole", "REGEX"),
    "path-equals": Help("this path alone", "PATH"),
    "method": Help("this method alone", "METHOD", "-m"),
    "position": Help("pre, tree or post: tried before, with or after the others (default: tree)", "POSITION"),
    "tags": Help("shown in the access log", "K=V,…"),
    "header": Help("a field to set: request=X-Mine=1; an empty value removes it; may be repeated", "WHERE=NAME=VALUE"),
    "redirect": Help("forward, permanent, found, permanent_redirect or unauthorized", "KIND"),
    "redirect-scheme": Help("use-same, use-http or use-https", "SCHEME"),
    "redirect-template": Help("the body of the redirect", "TEMPLATE"),
    "rewrite-host": Help("the Host that backends see", "HOST"),
    "rewrite-path": Help("the path that backends see", "PATH"),
    "rewrite-port": Help("the port that backends see", "PORT"),
    "required-auth": Help("let in who is in the cluster's authorized hashes"),
    "hsts-max-age": Help("Strict-Transport-Security: max-age", "S"),
    "hsts-include-subdomains": Help("Strict-Transport-Security: includeSubDomains"),
    "hsts-preload": Help("Strict-Transport-Security: preload"),
    "hsts-disabled": Help("Strict-Transport-Security: none, whatever the listener says"),
    "hsts-force-replace-backend": Help("Strict-Transport-Security: replace what the backend says"),
    # listeners
    "public-address": Help("what clients call it, where a NAT stands before it", "IP:PORT"),
    "expect-proxy": Help("connections begin with a PROXY protocol header"),
    "front-timeout": Help(f"the client sends or takes nothing: {_SECONDS_0}", "S"),
    "back-timeout": Help(f"the backend sends or takes nothing: {_SECONDS_0}", "S"),
    "connect-timeout": Help(f"one attempt to connect to a backend: {_SECONDS_0}", "S"),
    "request-timeout": Help(f"from the first byte of a request to the end of its head: {_SECONDS_0}", "S"),
    "sticky-name": Help("the name of the sticky cookie", "NAME"),
    "sozu-id-header": Help("the field that carries the request's id", "NAME"),
    "elide-x-real-ip": Help("drop X-Real-IP of clients"),
    "send-x-real-ip": Help("send X-Real-IP to backends"),
    "trusted-proxies": Help("networks whose forwarding fields are believed; may be repeated", "NETWORK,…"),
    "upgrade-protocols": Help("what may become a tunnel; may be repeated", "NAME,…"),
    "via": Help("the pseudonym in the Via field, empty = none", "NAME"),
    "max-head-size": Help("bytes of a request's or response's head", "BYTES"),
    "max-request-line": Help("bytes of a request line", "BYTES"),
    "max-fields": Help("fields of a head", "N"),
    "max-body-size": Help("bytes of a request's body, 0 = any", "BYTES"),
    "max-requests-per-connection": Help("requests of one client connection, 0 = any number", "N"),
    "min-body-rate": Help("bytes a second at which bodies are sent and responses read, 0 = any", "BYTES"),
    "answers": Help("as --answer", "CODE=TEMPLATE"),
    "alpn-protocols": Help("http/1.1; h2 may be among them and is not offered yet", "NAME,…"),
    "reset-alpn": Help("the default of --alpn-protocols again"),
    "strict-sni-binding": Help("a request must be for the host of its TLS connection"),
    "disable-http11": Help("HTTP/2 only"),
    "tls-versions": Help("TLS_V12, TLS_V13", "VERSION,…"),
    "tls-cipher-list": Help("suites by the names of OpenSSL, IANA or rustls", "NAME,…"),
    "groups-list": Help("groups for key exchange", "NAME,…"),
    "send-tls13-tickets": Help("session tickets per connection", "N"),
    "client-auth": Help("whether clients show a certificate: none, optional or required", "MODE"),
    "client-ca": Help("PEM file of the authorities that sign those; ctl reads it", "FILE"),
    "client-subject-header": Help("the field that tells backends its subject, empty = none", "NAME"),
    "client-san-header": Help("the field that tells backends its alternative names, empty = none", "NAME"),
    "client-fingerprint-header": Help("the field that tells backends its fingerprint, empty = none", "NAME"),
    "max-rx-datagram-size": Help("bytes of a datagram", "BYTES"),
    "max-flows": Help("flows at once, 0 = by the limit of descriptors", "N"),
    # certificates
    "certificate": Help("PEM file; ctl reads it", "FILE"),
    "key": Help("PEM file; ctl reads it", "FILE"),
    "certificate-chain": Help("PEM file of the certificates above it; ctl reads it", "FILE"),
    "new-certificate": Help("PEM file; ctl reads it", "FILE"),
    "new-key": Help("PEM file; ctl reads it", "FILE"),
    "new-certificate-chain": Help("PEM file of the certificates above it; ctl reads it", "FILE"),
    "old-certificate": Help("PEM file of the one to replace; ctl reads it", "FILE"),
    "default": Help("shown, too, to clients that ask for a name nobody has a certificate for, or for none"),
    "fingerprint": Help("the certificate's, as certificate list shows it", "SHA256HEX", "-f"),
    # the rest
    "limit": Help("connections one client address may have in a cluster, 0 = any number", "N"),
    "filter": Help("log directives, such as info,sozu_trio.proxy=debug", "FILTER"),
}

_WINDOW = "allowed per window of time"
H2: Mapping[str, str] = {
    "h2-max-rst-stream-per-window": f"RST_STREAM {_WINDOW}",
    "h2-max-ping-per-window": f"PING {_WINDOW}",
    "h2-max-settings-per-window": f"SETTINGS {_WINDOW}",
    "h2-max-empty-data-per-window": f"empty DATA {_WINDOW}",
    "h2-max-window-update-stream0-per-window": f"WINDOW_UPDATE of the connection {_WINDOW}",
    "h2-max-continuation-frames": "CONTINUATION of one header block",
    "h2-max-glitch-count": f"oddities {_WINDOW}",
    "h2-max-rst-stream-lifetime": "RST_STREAM received in the life of a connection",
    "h2-max-rst-stream-abusive-lifetime": "of those, before the response began",
    "h2-max-rst-stream-emitted-lifetime": "RST_STREAM sent in the life of a connection",
    "h2-initial-connection-window": "bytes of the connection's window",
    "h2-max-concurrent-streams": "streams at once",
    "h2-stream-shrink-ratio": "Sōzu's",
    "h2-max-header-list-size": "bytes of a header list",
    "h2-max-header-table-size": "bytes of HPACK's table",
    "h2-max-header-fields": "fields of a head",
    "h2-stream-idle-timeout-seconds": "seconds without a frame of a stream",
    "h2-graceful-shutdown-deadline-seconds": "seconds streams get in a soft stop, 0 = any number",
}


def help_of(verb: str, key: str) -> Help:
    """The most special entry for `key` of `verb`. Raises LookupError where there is none."""
    words = verb.split()
    for length in range(len(words), 0, -1):
        if found := HELPS.get(" ".join([*words[:length], key])):
            return found
    if key in H2:
        return Help(f"HTTP/2: {H2[key]}", "N")
    if key.startswith("answer-"):
        return Help(f"file with the whole response for {key[-3:]}", "FILE")
    return HELPS[key]
