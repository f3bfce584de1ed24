"""TLS: which certificate is shown to whom, and the OpenSSL contexts that show it.

Main reads certificates, with `cryptography`. A worker gets them as plain records: it imports none of main's modules
here, because `cryptography` costs 9 MB and 70 ms in each worker, and opens no path.

    main        reading      PEM bytes → Certificate, or a clear error                       reading.py
                blocks       what stands in a PEM file                                       pem.py
                chain        leaf first, then whoever signed it; in whatever order given     chain.py
                authorities  those who sign certificates of clients                      authorities.py
                subject      the names and addresses a certificate is for                    subject.py
                key          a private key, and whether TLS can use it                       private_key.py
    both        Certificate  the record: names, times, fingerprint, PEM of chain and key     config/certificates.py
                names        one spelling of the names that clients and certificates say     config/server_names.py
                Resolver     which certificates are shown for a name; immutable              routing/resolver.py
                settings     a listener's keys in OpenSSL's words                            config/tls_settings.py
    workers     contexts     one that wraps every connection, one for each certificate used  contexts.py
                identity     who a client is, by the certificate it has shown            identity.py
                failures     why a handshake failed, in words for counters and people        failures.py
                garbage      names in SNI that `ssl` would complain about                    garbage_names.py

The stream that speaks TLS is `proxy/tls_stream.py`.
"""
