"""What main, its workers and its clients say to one another.

codec       records ↔ JSON documents
messages    what main and a worker say
moves       what a worker and its successor say; held (what tunnels hold, beside the JSON)
channel     how it travels: one SOCK_SEQPACKET socket, descriptors beside the message, large ones in a memfd
sizes       how large a message may be
spare       a descriptor that is given up for one that must come in

The control socket, where programs and people ask; docs/control-protocol.md:

endpoint      the socket file: 0600, made at once, never stolen
server        who is let in, how it stops
conversation  one client: requests in, replies out, many at a time
outbox        lines on their way to a client that may read slowly
answering     what the one who answers says or raises → a reply
permissions   who is at the other end, and what they may do
protocol      requests and replies ↔ lines
strict_json   JSON and no wider
frames        bytes ↔ lines
client        the other end, for programs on Trio or asyncio

heirlooms     descriptors that one image of main leaves to the next
lock          a file that is locked as long as something is ours

What outlives the process:

journal        every acknowledged change; journal_file (how it grows), journal_lines (its form), journal_read (what of
               it is to be believed)
history        the last generations, and who made them
parts          a large difference in pieces
records        records as documents for people and files
certificates   changes about certificates: PEM → records
saved_state    a State in a file of ours; saved_tables (what may stand in it)
sozu_state     Sōzu's own form of it; sozu_requests (what each of its requests means)
write          files that appear whole or not at all
batch          a file of changes
"""
