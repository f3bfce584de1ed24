"""Where a request goes: rules in, decisions out. Pure; a clock's reading and random numbers are parameters.

    State      what we have been told: listeners, clusters, frontends, backends, certificates. Immutable; `state.py`.
    Change     one verb on it; `changes.py`, with `draft.py`, `change_*.py` and `links.py`. Many are a transaction.
    Delta      the difference of two States; `delta.py`. `reconcile.py` holds State against the configuration file;
               `crosswise.py` finds what then does not fit, `moves.py` which rules only changed places.
    Table      a State compiled for look-up, with a generation; immutable, swapped whole; `table.py`.
    Rule       an HTTP frontend together with the Decision it leads to.
    Decision   forward to a cluster, redirect, deny, or not found; made once, when the Table is; `decisions.py`.
    Resolver   which certificates of an https listener are shown for a name; `resolver.py`, made by `resolvers.py`.
    fields     that nobody but the proxy may say, as they tell who a client is; `client_fields.py`.
    HttpRoutes all rules of one address; `http_routes.py`, made of `hosts.py`, `paths.py` and `ordered.py`.
    Balancer   chooses among the backends of a cluster that may be used now; `balancing.py`.
    BackOff    for how long a backend that could not be reached is left alone; `backoff.py`.

The order in which rules are tried is written down for users in `docs/routing.md`.
"""
