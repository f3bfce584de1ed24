"""What `scripts/bench` runs: the proxy beside reference relays and the peers an operator would pick, in one run.

CPU per request is the figure to compare: throughput depends on what load generator and backend leave over.

    run        the command line; all of them in turn
    subcommands  what each does
    comparisons  the works that all relays do, and the bars of each
    rounds     relays in turn, round by round
    bars       the most a figure may be
    browser    requests as a browser sends them
    routes     look-up among many hosts by itself, without a proxy around it
    tls, state, certificates  what is asked for by these subcommands
    peers      who is measured, and how each is started
    processes  starting, ending and accounting of processes (tests/e2e uses it too)
    ports      free ones, in turn, for all tests and benchmarks on this machine
    measure    one measurement: check the answer, load, check again
    clients    a load by clients of our own: connections opens one for each request, handshakes does so with TLS,
               uploads sends bodies to upload_backend
    idle       memory of connections that do nothing
    workers    two beside one
    changes    traffic while changes stream in
    upgrade    traffic while everything is upgraded: the shortest of upgrade_drill
    report     medians, ratios, tables
    plot       a picture of the ratios
    guard      counts per request beside those committed; counting counts them, in lockstep with the proxy
    failures   what is in a group of exceptions
    floor_trio, plain_h11, bulk_trio    the reference relays, on `sockets`

`scripts/fuzz` runs fuzz_control with the lines of fuzz_lines, `scripts/upgrade-drill` the package upgrade_drill.
"""
