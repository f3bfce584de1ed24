"""What main does besides keeping workers: it takes orders, carries changes out, and tells what is.

transactions   the one place where State changes, one change at a time
birth          the State it all begins with: file, journal, saved state
actors         who asks
events         what happened, told to whoever listens
audit          who changed what, and what came of it
documents      records as the JSON that people and programs read
bodies         what may stand in the body of a verb that is no change
changing       verbs that change State, one or many at once
declaring      reload and plan; history and rollback
keeping        state save, load, dump, stats
looking        status, lists, tree, sessions, metrics
explaining     which rule would take a request, and why the others would not
ending         shutdown
verbs          verb → who answers it
"""
