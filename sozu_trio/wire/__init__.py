"""Bytes to messages and back, without any input or output: no trio, socket, ssl, clock or logging in here.

    head        request or status line and fields, up to the empty line         heads.py, request.py, response.py
    line        a field as it is passed on, and as name and value               field_lines.py
    framing     where the body ends: no body, a length, chunks, or the close    framing.py
    meaning     what the fields say about this connection and this message      meaning.py
    recogniser  one regular expression for an ordinary head; it only accepts    recognise.py
    judge       reads a head line by line and says what is wrong with it        lines.py
    opinion     h11 reads what the judge let pass; it must read the same        second_opinion.py
    decoder     chunks to payload and trailers, cut anywhere                    chunked.py
    header      PROXY protocol: who the client is, said before its first byte   proxy_protocol.py

A head the recogniser knows goes straight to its meaning. Every other one goes to the judge, then to its meaning, then
to h11. Both ways share meaning.py, so that they cannot disagree on more than syntax, and a property test holds their
syntax together.
"""
