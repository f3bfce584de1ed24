"""Who lives and who dies: the tree of a worker, how it stops, and the supervisor above it.

    drain       a latch from running to draining that wakes whoever only waits
    capacity    how many connections there are and how many there may be
    places      what connections of one address hold, and may hold
    tally       what all workers count together, as each of them sees it
    regions     the same, as main sees it
    readiness   waits of connections, in an epoll set of our own, which also tells that a client has gone
    accept      connections out of a listening socket, and what to do when the kernel has no more of something
    shortage    for how long it rests then
    guard       the outer edge of every session: no exception passes it
    listener    accepting inside connections: the two scopes behind soft and hard stop
    listening   the listeners of a worker
    handler     what a worker asks of those who know what a connection is
    generations a worker's side of a change: the one place where the Table is swapped
    holding     how long a change holds the loop
    garbage     full collections, kept out of the way
    looks       the live tree, read off
    answers     what main takes for an answer
    killing     one session ended by an operator
    cuts        removed backends and their deadlines
    link        a worker's line to its main, or to the next one
    leaving     a worker that has handed over to its successor
    departure   sessions on their way to a successor, as their worker sees it
    arrival     the same, as the successor sees it
    telling     lines, events and counters to main
    telling_lines lines of one log on their way there
    orphan      a worker whose main has died, and what it says to the next one
    worker      control, services, listeners
    title       what `ps` and `top` call a process
    strangers   children of others, left to main
    bind        listening sockets, made by main
    activation  those a service manager hands over
    sockets     those main holds
    workers     a worker as main sees it
    own_lines   that they log as nobody else
    attention   how much of main's time one may have
    transaction what main asks of one worker for a change
    loans       lends the sockets of a worker that is not there
    crew        all workers at once
    door        where the next main finds a worker
    spawn       workers as processes
    kept_code   what later workers run, whatever stands on disk meanwhile
    where       where a process hangs
    sandbox     what the configuration asks for
    sealing     the layers that a worker seals itself with
    identity    whom workers run as where main is root
    capabilities root's rights, one by one
    privileges  what a worker gives up by itself
    landlock    no files
    seccomp     no system calls
    system_calls but these
    warm_up     what has to have happened before
    adoption    workers that a main before has left
    sorting     which of them go on
    estate      what one supervisor leaves to the next one of the same process
    steering    which sockets get new connections
    hands       more workers, or fewer
    supervisor  main: changes over workers, the listening sockets, the end

This package is handed what a connection does and never imports `proxy`.
"""
