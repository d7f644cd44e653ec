"""Keeps the memory of freed objects for the next ones of their class: Cython's own lists are for base classes only."""

from cpython.object cimport PyTypeObject

cdef extern from *:
    """
    #include <string.h>
    enum { KINDS = 16, KEPT = 64 };

    static struct { PyTypeObject *kind; int count; PyObject *kept[KEPT]; } pools[KINDS];
    static int used;

    static PyObject *take(PyTypeObject *kind, Py_ssize_t items)
    {
        for (int i = 0; i < used; i++) {
            if (pools[i].kind != kind) continue;
            if (!pools[i].count) break;
            PyObject *one = pools[i].kept[--pools[i].count];
            memset((char *)one + sizeof(PyObject), 0, kind->tp_basicsize - sizeof(PyObject));
            (void)PyObject_Init(one, kind);
            if (PyType_IS_GC(kind)) PyObject_GC_Track(one);
            return one;
        }
        return PyType_GenericAlloc(kind, items);
    }

    static void give_back(void *freed)
    {
        PyTypeObject *kind = Py_TYPE((PyObject *)freed);
        for (int i = 0; i < used; i++) {
            if (pools[i].kind != kind) continue;
            if (pools[i].count == KEPT) break;
            pools[i].kept[pools[i].count++] = (PyObject *)freed;
            return;
        }
        if (PyType_IS_GC(kind)) PyObject_GC_Del(freed);
        else PyObject_Free(freed);
    }

    static int begin(PyTypeObject *kind)
    {
        if (used == KINDS || kind->tp_itemsize || kind->tp_finalize || kind->tp_flags & Py_TPFLAGS_HEAPTYPE)
            return 0;
        pools[used++].kind = kind;
        kind->tp_alloc = take;
        kind->tp_free = give_back;
        return 1;
    }
    """
    bint begin(PyTypeObject *kind)


def recycled(type kind):
    """See `evsockets.recycled`."""
    if not begin(<PyTypeObject *>kind):
        raise TypeError(f"{kind!r} cannot be recycled: it is not compiled, or there are too many already")
