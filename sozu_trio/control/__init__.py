"""What main, its workers and its clients say to one another.

codec       records ↔ JSON documents
messages    what main and a worker say
channel     how it travels: one SOCK_SEQPACKET socket, descriptors beside the message, large ones in a memfd
"""
