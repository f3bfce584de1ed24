"""TLS: which certificate is shown to whom, and the OpenSSL contexts that show it.

Main reads certificates, with `cryptography`. A worker gets them as plain records: it imports none of main's modules
here, because `cryptography` costs 9 MB and 70 ms in each worker, and opens no path.

    main        reading      PEM bytes → Certificate, or a clear error                       reading.py
                blocks       what stands in a PEM file                                       pem.py
                chain        leaf first, then whoever signed it; in whatever order given     chain.py
                authorities  those who sign certificates of clients                          authorities.py
                subject      the names and addresses a certificate is for                    subject.py
                key          a private key, and whether TLS can use it                       private_key.py
    both        Certificate  the record: names, times, fingerprint, PEM of chain and key     config/certificates.py
                names        one spelling of the names that clients and certificates say     config/server_names.py
                Resolver     which certificates are shown for a name; immutable              routing/resolver.py
                settings     a listener's keys in OpenSSL's words                            config/tls_settings.py
                trusted      authorities of a bundle, and of the system; a worker gets those trusted.py
                             of the system in its first message
    workers     contexts     one that wraps every connection, one for each certificate used  contexts.py
                beginnings   what every context begins with                                  fresh_context.py
                identity     who a client is, by the certificate it has shown                identity.py
                failures     why a handshake failed, in words for counters and people        failures.py
                clients      contexts for TLS to backends, shared by clusters that say so    client_contexts.py
                refusals     why a backend was not reached                                   client_failures.py
                key log      secrets of sessions, for who is to read what they say           key_log.py
                garbage      names in SNI that `ssl` would complain about                    garbage_names.py

The stream that speaks TLS is `proxy/tls_stream.py`.
"""
