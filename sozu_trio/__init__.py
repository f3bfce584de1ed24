"""A reverse proxy that is reconfigured and upgraded while it serves, and is never restarted.

Everything that lives, lives in one nursery tree; everything that is configured is one immutable value that is swapped.
A map, from the ground up; imports only ever go down it:

    errors      every exception we raise on purpose
    config      TOML → records; every default, limit and deadline
    wire        bytes ↔ HTTP/1.1 heads and bodies, PROXY headers; no I/O
    routing     State, the Table compiled from it, balancing; pure
    control     what main, its workers and its clients say to one another; the journal and saved states
    telemetry   logs, access log, counters
    nursery     who lives and who dies: accept, listeners, worker, supervisor
    proxy       what one connection does
    main        what main does besides: verbs, transactions, reload, history
    app         puts the parts together
    testing     a proxy in a test (pytest plug-in)
    cli         the commands
"""

__version__ = "0.1.0"
