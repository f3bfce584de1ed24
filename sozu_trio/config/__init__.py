"""TOML → one frozen `Config`; the words of the control socket that change it; every default, limit and deadline of the
program, each with its unit.

load        the way in: `load_config`, `parse_config`, `Config`
schema      the tables of the file: every key, its kind, its default       values    what a single value may be
structure   TOML and JSON → tables, by cattrs; `kinds` teaches it          report    problems and notices
unbuilt     keys that do nothing yet                                       check     what tables must not say together
globals     global keys → Program                                          resolve   other tables → records
program, listeners, clusters, certificates, hsts, addresses                the records everyone else works with
https       what makes a listener one of https, and the files of certificates     client_auth  those of clients
plain_names names of fields that others cannot tell apart
tls_settings its keys in OpenSSL's words, with cipher_names and group_names  server_names one spelling of names in TLS
backend_tls TLS to the backends of a cluster
verbs       changes that can be asked for, with their `bodies` and `https_bodies`   reading   JSON → body
directives  "info,sozu_trio.wire=debug" → levels per module       nearest  hints in error messages
options     values that only bodies have                               environment  numbers a service manager sets
patterns    hosts and paths of frontends                                   limits    numbers that are no keys
"""
