"""Who lives and who dies: the tree of a worker, how it stops, and the supervisor above it.

    drain       a latch from running to draining that wakes whoever only waits
    capacity    how many connections there are and how many there may be
    hangup      tells a session at once that its client has gone
    accept      connections out of a listening socket, and what to do when the kernel has no more of something
    guard       the outer edge of every session: no exception passes it
    listener    accepting inside connections: the two scopes behind soft and hard stop
    worker      control, telemetry, listeners; the one place that swaps the Table
    bind        listening sockets, made by main
    workers     a worker as main sees it
    supervisor  main: transactions over workers, the listening sockets, the end

This package is handed what a connection does and never imports `proxy`.
"""
