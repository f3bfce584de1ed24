"""What one connection does, from its first byte to its access-log line.

proxy        what all sessions of a worker share; the handler the worker is given
session      one client connection: PROXY header, then HTTP/1 or TCP
http1        requests out of a client connection, one after the other; terms: what is the same for all of a listener
exchange     one request and its response, whatever the version: decide, connect, converse, log
response     the backend's answer on its way to the client
upgrades     changes of protocol that are asked for
upload       the client's body on its way to the backend
body         one message's body, read; transfer: written
forwarding   what we tell the backend about the client; client_fields: who it is, by its certificate
answers      responses of our own; refusing: to what is no request; turning_away: of a connection that may not stay
tcp          a session of a tcp listener
relay        bytes unread from socket to socket, splice(2); pipes: what it needs for that
tunnels      tunnels that may move to the next worker; resuming: sessions that came from the one before
connect      a connection to a backend; backends: load, back-off, connections kept for reuse
rates        requests a second: token buckets
queueing     limits of connections to backends, and who waits for one
secure_backend  TLS on a connection to a backend
backend_states  all backends over all Tables; swaps: each follows a swap at its first use, or when its turn comes
stream       a connected socket; patience: how long to wait for it; pace: how slow it may be
trimming     memory that a crowd has left
https        a connection of an https listener; secured: what its requests must be for, and HSTS
ends         why a session has ended that neither of its peers has
outdated     connections whose listener has become another one
first_word   a client that has said nothing yet; proxy_header: what may come before TLS
tls_stream   a socket with TLS; close_notify: how it ends; tls_listeners: OpenSSL's contexts, over all Tables
"""
