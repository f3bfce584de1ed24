"""What `scripts/bench` runs: the proxy beside reference relays and the peers an operator would pick, in one run.

CPU per request is the figure to compare: throughput depends on what load generator and backend leave over.

    run        the command line: small, bulk, routes
    routes     look-up among many hosts by itself, without a proxy around it
    peers      who is measured, and how each is started
    processes  starting, ending and accounting of processes (tests/e2e uses it too)
    measure    one measurement: check the answer, load, check again
    report     medians, ratios, tables
    failures   what is in a group of exceptions
    floor_trio, plain_h11, bulk_trio    the reference relays, on `sockets`

`scripts/fuzz` runs fuzz_control with the lines of fuzz_lines, `scripts/upgrade-drill` the package upgrade_drill.
"""
