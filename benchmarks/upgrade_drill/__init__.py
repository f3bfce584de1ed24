"""What `scripts/upgrade-drill` runs: every kind of client at work while the proxy is upgraded, and nothing may be lost.

run          the command line
stage        the proxy and its backends, or a proxy that runs already
crowd        the clients, at work together until they are told to stop
keep_alive   requests at fixed times, over connections that stay open or are new
websocket    numbered messages that must come back in order; `numbers` judges them
tcp          a stream of known bytes that must come back; `known_bytes` makes and judges it
wrk          wrk beside them, with a script that looks at every answer
echo         the backend of WebSocket and TCP clients, a process of its own
upgrading    `ctl upgrade`, as often as asked, and how long each took
watching     main and its workers from outside: memory, descriptors, processes, the control socket
drill        one drill, from the first client to the last process
paired       rounds with and without upgrades at half the load a worker can take
tally        what the clients have seen
report       the table, the JSON, and what was lost
"""
