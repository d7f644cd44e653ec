cpdef watch(engine, fd, interest, token)
cpdef failure(engine, verb, error)
