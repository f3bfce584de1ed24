"""What main does besides keeping workers: it takes orders, carries changes out, and tells what is.

transactions   the one place where State changes, one change at a time
birth          the State it all begins with: file, journal, saved state
actors         who asks
events         what happened, told to whoever listens
told           a change of State as events
hearing        what workers tell unasked, on its way to logs and events
audit          who changed what, and what came of it
documents      records as the JSON that people and programs read
bodies         what may stand in the body of a verb that is no change
changing       verbs that change State, one or many at once
summaries      what is asked for, on one line without secrets
declaring      reload and plan
steps          a change of State, step by step, as people read it
remembering    history and rollback
keeping        state save, load, dump, stats
files          files that a client names because they are too large for a request
guarding       what a saved state must not be written over
listing        clusters, frontends, backends, listeners
limiting       the limit of connections per client address
certifying     certificates, and which of them is shown to whom
certificates   those that come as PEM
certificate_files those in the files that the configuration names
client_authorities those who sign certificates of clients, in such files
backend_tls_files what the clusters' tables about TLS to backends name in such files
named_files    what listeners and clusters name in files, read together
key_log        the file for secrets of TLS sessions, where one is asked for
seen_files     the files of certificates as they were when they were read
certificate_watch what is remembered of them
renewing       certificates whose files are renewed
expiring       certificates that are about to expire
looking        status, tree, sessions
measuring      metrics
following      events, to a client that listens
explaining     which rule would take a request, and why the others would not
draining       who is left of the sessions of what ends, told to whoever waits for the last one
ending         shutdown
service_manager what systemd is told, and in which words
informing      when it is told
signals        what main does when it is signalled
rights         which of root's rights it keeps

Main runs other code in its own place:

upgrading      the verb
preflight      new code shows that it can take over
room           descriptors the new image needs
launch         how main was started
replacement    main leaves off answering, and executes
handoff        what is left to the new image
guard_script   the new image's first lines, which are the old one's
continuing     the new image goes on with whoever asked

verbs          verb → who answers it
"""
