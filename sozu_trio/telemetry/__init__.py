"""What the proxy says about itself: log lines, access lines, counters, identifiers.

    log          loggers for our modules, and the handler that turns their records into lines
    stamp        how every line of text begins: time, process, level, tag
    escape       peers' bytes as harmless text: one record can never look like two
    claims       lines of workers: what they may say of themselves
    access_log   one record per request or TCP session, as a line of text or a JSON document
    lines        the bounded buffer between those who log and the one who writes
    sink         takes lines out of a buffer and has them written in a worker thread, batch by batch
    targets      "file:///var/log/proxy.log" → where lines go, as a value
    writers      the blocking writing itself: descriptors, files, datagrams, TCP
    plural       "1 session", "2 sessions"
    counters     plain integers, with the names they are shown under
    ids          sortable identifiers for sessions and requests (ULID)

Nothing here knows what it reports on. The hot path touches `access_log`, `counters` and `ids`; none of them waits.
"""
